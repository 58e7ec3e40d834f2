"""Captioned clips drawn by code, with the exact truth: one shape moves straight on and bounces off the walls.

It starts near the middle of the side that it leaves, or near the corner, so that its first frame shows
which way it will go. A share of the clips can be of shapes that are under way already: anywhere, in any
direction, of which their caption says nothing. They show how a longer clip goes on.

Clip `index` of a `seed` is always the same, at any size and frame rate, so nothing has to be stored.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mmdiff import counter
from mmdiff.data.drawn import Drawn
from mmdiff.data.shapes import COLOURS, SHAPES, coverage

DIRECTIONS = {  # name -> right, down
    "right": (1.0, 0.0),
    "left": (-1.0, 0.0),
    "down": (0.0, 1.0),
    "up": (0.0, -1.0),
    "down and right": (math.sqrt(0.5), math.sqrt(0.5)),
    "up and left": (-math.sqrt(0.5), -math.sqrt(0.5)),
}
SPEED = 0.5  # shorter sides a second
RADIUS = 0.17  # of the shorter side
_FREE = 0.25  # of the way between the walls: in so much a start differs from others of its direction
_REACH = 1.1 * RADIUS  # the farthest corner of any shape


def columns(seed: int, index: int, under_way: float = 0.0) -> dict[str, Any]:
    """What `truth` says of a clip, where its shape starts, and which way it goes.

    These are `x` and `y`, 0 to 1 from wall to wall, and `right` and `down`, parts of its speed.

    Args:
        under_way: the share of clips that begin with a shape that is under way.
    """
    number = counter.key(seed, "bounce", index)
    number, colour = divmod(number, len(COLOURS))
    number, shape = divmod(number, len(SHAPES))
    number, way = divmod(number, len(DIRECTIONS))
    start = {axis: counter.uniform(seed, f"bounce {axis}", index) for axis in ("x", "y")}
    steps, asked = dict(zip(("right", "down"), list(DIRECTIONS.values())[way], strict=True)), None
    if counter.uniform(seed, "bounce under way", index) < under_way:
        for axis in steps:  # either wall may have turned it back
            number, turned = divmod(number, 2)
            steps[axis] *= 1 - 2 * turned
    else:
        asked = list(DIRECTIONS)[way]
        for axis, step in zip(start, steps.values(), strict=True):
            start[axis] = _FREE * start[axis] + (1 - _FREE) * (1 + (step < 0) - (step > 0)) / 2
    return truth(list(COLOURS)[colour], SHAPES[shape], asked) | start | steps


def truth(colour: str, shape: str, direction: str | None = None) -> dict[str, Any]:
    """The columns of a clip with these properties: `text`, `colour`, `shape`, `direction`.

    Args:
        direction: one of `DIRECTIONS`; None leaves it open.
    """
    article = "an" if colour[0] in "aeiou" else "a"
    text = f"{article} {colour} {shape}" + (f" moving {direction}" if direction else "")
    return {"text": text, "colour": colour, "shape": shape, "direction": direction}


def path(
    known: dict[str, Any], size: tuple[int, int], times: Float[np.ndarray, " f"]
) -> Float[np.ndarray, "f 2"]:
    """The law: where the centre is, in pixels from the left and the top, at times in seconds.

    The shape moves straight on, and each wall that it touches turns it back.
    """
    side, centres = min(size), []
    for axis, (begin, way) in zip(size, (("x", "right"), ("y", "down")), strict=True):
        room = axis - 2 * _REACH * side
        travelled = known[begin] * room + known[way] * SPEED * side * times
        folded = np.mod(travelled, 2 * room)
        centres.append(_REACH * side + np.minimum(folded, 2 * room - folded))
    return np.stack(centres, -1)


def clip(
    seed: int, index: int, size: tuple[int, int], frames: int, fps: Fraction, under_way: float = 0.0
) -> tuple[UInt8[np.ndarray, "f h w 3"], dict[str, Any]]:
    """Clip `index`, of `size` pixels (width, height), and its columns."""
    known = columns(seed, index, under_way)
    colour = np.array(COLOURS[known["colour"]], np.float32)
    pictures = []
    for centre in path(known, size, np.arange(frames) / float(fps)):
        ink = coverage(known["shape"], (float(centre[0]), float(centre[1])), RADIUS * min(size), size)[
            ..., None
        ]
        pictures.append(np.round(255 + (colour - 255) * ink).astype(np.uint8))
    return np.stack(pictures), known


class Bounce(Drawn):
    """The first `length` clips of a seed, `3 f h w`."""

    noun = "bounce"

    def __init__(
        self,
        seed: int,
        length: int,
        size: tuple[int, int],
        frames: int,
        fps: Fraction,
        cache_mb: int = 2048,
        under_way: float = 0.0,
    ) -> None:
        super().__init__(seed, length, cache_mb)
        self.size, self.frames, self.fps, self.under_way = size, frames, fps, under_way

    def columns(self, index: int) -> dict[str, Any]:
        """The truth about a clip."""
        return columns(self.seed, index, self.under_way)

    def _make(self, index: int) -> UInt8[Tensor, "3 f h w"]:
        frames = clip(self.seed, index, self.size, self.frames, self.fps, self.under_way)[0]
        return torch.from_numpy(frames).permute(3, 0, 1, 2)
