"""Which places of a sample training takes as given: beginnings, ends, surroundings of a gap, boxes."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from mmdiff import counter

SHORTEST, LONGEST = 0.1, 0.9  # shares of an axis that a cut takes
FIRST = 0.3  # share of clips of which the first frame alone is known: what a picture gives


def known(seed: int, position: int, sizes: Sequence[int]) -> Bool[Tensor, "1 *axes"]:
    """The mask of a position: what is inside, or what is outside of a box of random size and place.

    A third of all cuts touch the start of their axis and a third its end, so two thirds of the masks of a
    series leave a continuation, forward or backward, and the others a gap or all but a middle. An axis of
    one place is never cut; where none can be, nothing is known. In a share of clips it is the first frame.

    Args:
        sizes: of the axes; a sample and not its padding.
    """

    def draw(what: str, axis: int = 0) -> float:
        return counter.uniform(seed, f"known {what}", position, axis)

    able = [axis for axis, size in enumerate(sizes) if size > 1]
    if not able:
        return torch.zeros(1, *sizes, dtype=torch.bool)
    if len(sizes) == 3 and sizes[0] > 1 and draw("first frame") < FIRST:
        return (torch.arange(sizes[0]) == 0).reshape(1, -1, 1, 1).expand(1, *sizes)
    always = able[int(draw("axis") * len(able))]
    mask = torch.ones(1, *sizes, dtype=torch.bool)
    for axis in able:
        if axis != always and draw("whole", axis) < 0.5:
            continue
        size = sizes[axis]
        share = SHORTEST + (LONGEST - SHORTEST) * draw("share", axis)
        length = min(max(round(share * size), 1), size - 1)
        spare, kind = size - length, int(3 * draw("kind", axis))
        start = (0, spare, int(draw("start", axis) * (spare + 1)))[kind]
        places = torch.arange(size)
        inside = (places >= start) & (places < start + length)
        mask = mask & inside.reshape([-1 if i == axis else 1 for i in range(-1, len(sizes))])
    return mask if draw("side") < 0.5 else ~mask
