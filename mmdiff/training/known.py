"""Which places of a sample training takes as given: beginnings, ends, surroundings of a gap, boxes."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor

from mmdiff import counter

SHORTEST, LONGEST = 0.1, 0.9  # shares of an axis that a cut takes
# Shares of clips of which the first frame alone is known, which is what a picture gives, and of which other
# whole frames are; of the rest it is boxes in some frames
FIRST, FRAMES = 0.3, 0.4


def known(seed: int, position: int, sizes: Sequence[int]) -> Bool[Tensor, "1 *axes"]:
    """The mask of a position: what is inside, or what is outside of a box of random size and place.

    A third of all cuts touch the start of their axis and a third its end, so two thirds of the masks of a
    series leave a continuation, forward or backward, and the others a gap or all but a middle. An axis of
    one place is never cut; where none can be, nothing is known. Clips are mostly cut along time alone.

    Args:
        sizes: of the axes; a sample and not its padding.
    """

    def draw(what: str, axis: int = 0) -> float:
        return counter.uniform(seed, f"known {what}", position, axis)

    able = [axis for axis, size in enumerate(sizes) if size > 1]
    if not able:
        return torch.zeros(1, *sizes, dtype=torch.bool)
    dice = draw("frames") if len(sizes) == 3 and sizes[0] > 1 else 1.0
    if dice < FIRST:
        return (torch.arange(sizes[0]) == 0).reshape(1, -1, 1, 1).expand(1, *sizes)
    if dice < FIRST + FRAMES:
        able = [0]
    always = able[int(draw("axis") * len(able))]
    mask = torch.ones(1, *sizes, dtype=torch.bool)
    for axis in able:
        if axis != always and draw("whole", axis) < 0.5:
            continue
        inside = _cut(sizes[axis], partial(draw, axis=axis))
        mask = mask & inside.reshape([-1 if i == axis else 1 for i in range(-1, len(sizes))])
    return mask if draw("side") < 0.5 else ~mask


def _cut(size: int, draw: Callable[[str], float]) -> Bool[Tensor, " {size}"]:
    """Which places of an axis a cut takes: some that follow each other."""
    share = SHORTEST + (LONGEST - SHORTEST) * draw("share")
    length = min(max(round(share * size), 1), size - 1)
    spare, kind = size - length, int(3 * draw("kind"))
    start = (0, spare, int(draw("start") * (spare + 1)))[kind]
    places = torch.arange(size)
    return (places >= start) & (places < start + length)
