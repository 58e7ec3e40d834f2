"""Captioned pictures drawn by code, with the exact truth: one shape on white, in one of nine places.

Picture `index` of a `seed` is always the same, at any size, so nothing has to be stored.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from mmdiff import counter
from mmdiff.data.drawn import Drawn
from mmdiff.data.pictures import to_x0

COLOURS = {
    "red": (225, 35, 35),
    "orange": (250, 140, 0),
    "yellow": (250, 220, 40),
    "green": (30, 160, 60),
    "cyan": (60, 200, 220),
    "blue": (35, 70, 220),
    "purple": (150, 40, 190),
    "black": (20, 20, 20),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
POSITIONS = {  # name -> column, row and phrase
    "top left": (0, 0, "in the top left"),
    "top": (1, 0, "at the top"),
    "top right": (2, 0, "in the top right"),
    "left": (0, 1, "on the left"),
    "middle": (1, 1, "in the middle"),
    "right": (2, 1, "on the right"),
    "bottom left": (0, 2, "in the bottom left"),
    "bottom": (1, 2, "at the bottom"),
    "bottom right": (2, 2, "in the bottom right"),
}
# In units of the shorter side. Three shapes side by side just fit, and with the largest shift every centre is
# still well inside its own third of the picture.
_CENTRES = (0.22, 0.5, 0.78)
_RADII = (0.165, 0.19)
_SHIFT = 0.025
_OVERSAMPLING = 8


def columns(seed: int, index: int) -> dict[str, Any]:
    """The truth about a picture: `text`, `colour`, `shape`, `position`."""
    number = counter.key(seed, "shapes", index)
    number, colour = divmod(number, len(COLOURS))
    number, shape = divmod(number, len(SHAPES))
    return truth(list(COLOURS)[colour], SHAPES[shape], list(POSITIONS)[number % len(POSITIONS)])


def truth(colour: str, shape: str, position: str) -> dict[str, Any]:
    """The columns of a picture with these properties."""
    article = "an" if colour[0] in "aeiou" else "a"
    text = f"{article} {colour} {shape} {POSITIONS[position][2]}"
    return {"text": text, "colour": colour, "shape": shape, "position": position}


def truths() -> Iterator[dict[str, Any]]:
    """Every combination once."""
    for colour in COLOURS:
        for shape in SHAPES:
            for position in POSITIONS:
                yield truth(colour, shape, position)


def shape(
    seed: int, index: int, size: int | tuple[int, int]
) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Any]]:
    """Picture `index`, of `size` pixels (a square, or width and height), and its columns."""
    width, height = (size, size) if isinstance(size, int) else size
    known = columns(seed, index)
    column, row, _ = POSITIONS[known["position"]]
    side = min(width, height)
    shift = [(2 * counter.uniform(seed, "shapes shift", index, axis) - 1) * _SHIFT * side for axis in (0, 1)]
    radius = (_RADII[0] + (_RADII[1] - _RADII[0]) * counter.uniform(seed, "shapes radius", index)) * side
    centre = (_CENTRES[column] * width + shift[0], _CENTRES[row] * height + shift[1])
    ink = coverage(known["shape"], centre, radius, (width, height))[..., None]
    colour = np.array(COLOURS[known["colour"]], np.float32)
    return np.round(255 + (colour - 255) * ink).astype(np.uint8), known


def coverage(
    kind: str, centre: tuple[float, float], radius: float, size: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """The share of every pixel that the shape covers."""
    zoom = _OVERSAMPLING
    mask = Image.new("L", (size[0] * zoom, size[1] * zoom))
    draw = ImageDraw.Draw(mask)
    x, y, r = centre[0] * zoom, centre[1] * zoom, radius * zoom
    if kind in {"circle", "ring"}:
        draw.circle((x, y), r, fill=255)
        if kind == "ring":
            draw.circle((x, y), r * 0.55, fill=0)
    else:
        draw.polygon([(x + r * u, y + r * v) for u, v in _OUTLINES[kind]], fill=255)
    return np.asarray(mask.reduce(zoom), np.float32) / 255


def _regular(count: int, radii: tuple[float, ...] = (1.0,), down: float = 0.0) -> list[tuple[float, float]]:
    """Corners around the centre, the first one at the top; `radii` take turns."""
    angles = np.arange(count) * (2 * np.pi / count)
    lengths = np.resize(radii, count)
    return [(float(q * np.sin(a)), float(down - q * np.cos(a))) for a, q in zip(angles, lengths, strict=True)]


def _turned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points, and after them the same turned by one, two and three quarters."""
    turns = [points]
    for _ in range(3):
        turns.append([(-y, x) for x, y in turns[-1]])
    return [point for turn in turns for point in turn]


_ARM = 0.34  # half the width of the cross's arms
_OUTLINES = {
    "square": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
    "triangle": _regular(3, (1.1,)),
    "star": _regular(10, (1.1, 0.46)),
    "cross": _turned([(-_ARM, -1.0), (_ARM, -1.0), (_ARM, -_ARM)]),
}


class Shapes(Drawn):
    """The first `length` pictures of a seed, `3 h w`."""

    noun = "shape"

    def __init__(self, seed: int, length: int, size: int | tuple[int, int], cache_mb: int = 2048) -> None:
        super().__init__(seed, length, cache_mb)
        self.size = (size, size) if isinstance(size, int) else size

    def columns(self, index: int) -> dict[str, Any]:
        """The truth about a picture."""
        return columns(self.seed, index)

    def x0(self, index: int) -> Float[Tensor, "3 h w"]:
        """The encoded picture."""
        return to_x0(self[index][0])

    def _make(self, index: int) -> UInt8[Tensor, "3 h w"]:
        return torch.from_numpy(shape(self.seed, index, self.size)[0]).permute(2, 0, 1)
