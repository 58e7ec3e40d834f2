"""Pictures and clips of several sizes: each file is brought to the one whose shape is nearest to its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mmdiff.data.library import Library
from mmdiff.errors import UserError
from mmdiff.naming import said

FACTS = frozenset({"width", "height"})  # of a file, which decide


def nearest(sizes: Sequence[tuple[int, int]], columns: Mapping[str, Any], name: str) -> int:
    """Which (width, height) has the shape nearest to that of a file.

    Of equal shapes it is the largest that the file fills, or else the smallest.

    Args:
        sizes: to choose from.
        columns: of the file, with its width and height.
        name: of the file, for messages.

    Raises:
        UserError: a width or height that is no number of pixels.
    """
    width, height = (said(columns.get(key)) for key in ("width", "height"))
    if not (width > 0 and height > 0):
        got = f"width {columns.get('width')!r} and height {columns.get('height')!r}"
        raise UserError(f"{name}: got {got}, expected pixels, which data.sizes needs")

    def cost(size: tuple[int, int]) -> tuple[float, int]:
        across, down = size
        filled = across <= width and down <= height
        shape = round(abs(math.log(width * down / (height * across))), 6)
        return shape, -across * down if filled else across * down

    return min(range(len(sizes)), key=lambda index: cost(sizes[index]))


class Sized:
    """The samples of a listing, a ``Source``, each at one of several sizes.

    Args:
        libraries: of the same listing, one for each size.
        which: the library of each sample.
    """

    def __init__(self, libraries: Sequence[Library], which: Sequence[int]) -> None:
        self.libraries, self.which = libraries, which

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, index: int) -> tuple[Tensor, Mapping[str, Any]]:
        return self.libraries[self.which[index]][index]

    def part(self, index: int, place: float) -> Tensor:
        """What a window of a sample is cut from."""
        return self.libraries[self.which[index]].part(index, place)

    def name(self, index: int) -> str:
        """The file's name below the root."""
        return self.libraries[0].name(index)

    def columns(self, index: int) -> Mapping[str, Any]:
        """The metadata of a sample."""
        return self.libraries[0].columns(index)
