"""Pictures and clips of several sizes: each file is brought to the one whose shape is nearest to its own."""

import math
from collections.abc import Sequence

FACTS = frozenset({"width", "height"})  # that the audit says of a file, and that decide


def nearest(sizes: Sequence[tuple[int, int]], width: int, height: int) -> int:
    """Which (width, height) has the shape nearest to that of a file.

    Of equal shapes it is the largest that the file fills, or else the smallest.
    """

    def cost(size: tuple[int, int]) -> tuple[float, int]:
        across, down = size
        filled = across <= width and down <= height
        shape = round(abs(math.log(width * down / (height * across))), 6)
        return shape, -across * down if filled else across * down

    return min(range(len(sizes)), key=lambda index: cost(sizes[index]))
