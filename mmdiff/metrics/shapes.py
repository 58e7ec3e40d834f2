"""An independent judge of pictures with one shape: reads colour, shape and place, and says how sure it is.

It shares no code with what draws such pictures. It finds what differs from the border, names its colour by
the nearest of a table and its place by the centroid, and compares the form with ideal ones of the same area
and centroid, each given by inequalities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mmdiff.metrics.intervals import Rate, wilson

COLOURS = {  # sRGB in [0, 1]
    "red": (0.88, 0.14, 0.14),
    "orange": (0.98, 0.55, 0.0),
    "yellow": (0.98, 0.86, 0.16),
    "green": (0.12, 0.63, 0.24),
    "cyan": (0.24, 0.78, 0.86),
    "blue": (0.14, 0.27, 0.86),
    "purple": (0.59, 0.16, 0.75),
    "black": (0.08, 0.08, 0.08),
}
_PLACES = (
    ("top left", "top", "top right"),
    ("left", "middle", "right"),
    ("bottom left", "bottom", "bottom right"),
)
# A flat picture of 8 bits differs from its border by noise only; the palest colour above by 0.8.
_LEAST_CONTRAST = 0.2
# Pixels of this share of the strongest contrast are inside the shape and not on its blurred edge.
_CORE = 0.75
_FAINT = 0.2  # coverage below it is background noise
# A shape covers 3 to 12 % of the picture. Far outside there is a speck, or no shape on a background.
_LEAST_AREA, _MOST_AREA = 0.005, 0.3
# Overlap with the best form: above 0.8 for drawn shapes, below 0.5 for scattered noise.
_LEAST_OVERLAP = 0.6
_OVERSAMPLING = 4
_RING, _STAR, _ARM = 0.55, 0.42, 0.34  # inner / outer radius, the same, half width / half length


class Reading(NamedTuple):
    """What the judge sees; None where it sees nothing that it can name.

    `confidence` is the overlap (intersection / union, 0 to 1) with the best form.
    """

    colour: str | None
    shape: str | None
    position: str | None
    confidence: float = 0.0


def judge(picture: UInt8[Tensor, "h w 3"]) -> Reading:
    """Reads one picture."""
    pixels = torch.as_tensor(picture).double() / 255
    border = torch.cat([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).median(dim=0).values
    contrast = (pixels - border).norm(dim=-1)
    strongest = float(contrast.max())
    if strongest < _LEAST_CONTRAST:
        return Reading(None, None, None)
    colour = pixels[contrast >= _CORE * strongest].mean(dim=0)
    ink = _coverage(pixels, border, colour)
    height, width = ink.shape
    area = float(ink.sum())
    if not _LEAST_AREA <= area / (height * width) <= _MOST_AREA:
        return Reading(None, None, None)
    across, down = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    x, y = float((ink.sum(0) * across).sum()) / area, float((ink.sum(1) * down).sum()) / area
    place = _PLACES[min(int(3 * y / height), 2)][min(int(3 * x / width), 2)]
    overlaps = {name: _overlap(ink, inside, (x, y), area) for name, inside in FORMS.items()}
    shape = max(overlaps, key=overlaps.__getitem__)
    sure = overlaps[shape]
    return Reading(_nearest(colour), shape if sure >= _LEAST_OVERLAP else None, place, sure)


def agreement(readings: Sequence[Reading], truths: Sequence[Mapping[str, Any]]) -> dict[str, Rate]:
    """How often the readings agree with the truth: `colour`, `shape`, `position`, and `all` three at once.

    A reading of None is a failure.

    Raises:
        ValueError: there are not as many truths as readings, or none.
    """
    if len(readings) != len(truths) or not readings:
        raise ValueError(f"agreement: {len(readings)} readings for {len(truths)} truths, expected as many")
    names = ("colour", "shape", "position")
    right = [[getattr(r, name) == t[name] for name in names] for r, t in zip(readings, truths, strict=True)]
    counts = {name: sum(row[i] for row in right) for i, name in enumerate(names)}
    counts["all"] = sum(all(row) for row in right)
    return {name: wilson(count, len(right)) for name, count in counts.items()}


def _coverage(
    pixels: Float[Tensor, "h w 3"], border: Float[Tensor, "3"], colour: Float[Tensor, "3"]
) -> Float[Tensor, "h w"]:
    """The share of each pixel that the shape covers, if its colour is a blend of border and shape."""
    way = colour - border
    ink = (((pixels - border) @ way) / (way @ way)).clamp(0, 1)
    return torch.where(ink < _FAINT, 0, ink)


def _nearest(colour: Float[Tensor, "3"]) -> str:
    names = list(COLOURS)
    known = torch.tensor([COLOURS[name] for name in names], dtype=colour.dtype)
    return names[int((known - colour).norm(dim=-1).argmin())]


_Inside = Callable[[Tensor, Tensor, float], Tensor]


def _overlap(ink: Float[Tensor, "h w"], inside: _Inside, centre: tuple[float, float], area: float) -> float:
    """Intersection / union of the ink with an ideal form of the same centroid and area."""
    zoom = _OVERSAMPLING
    height, width = ink.shape
    u = (torch.arange(width * zoom) + 0.5) / zoom - centre[0]
    v = (torch.arange(height * zoom) + 0.5) / zoom - centre[1]
    form = avg_pool2d(inside(u[None, :], v[:, None], area).double()[None], zoom)[0]
    return float(torch.minimum(ink, form).sum() / torch.maximum(ink, form).sum())


# Forms around their centroid: u to the right, v down, and the area that they have.


def _circle(u: Tensor, v: Tensor, area: float) -> Bool[Tensor, "h w"]:
    return u**2 + v**2 <= area / math.pi


def _square(u: Tensor, v: Tensor, area: float) -> Bool[Tensor, "h w"]:
    return torch.maximum(u.abs(), v.abs()) <= math.sqrt(area) / 2


def _triangle(u: Tensor, v: Tensor, area: float) -> Bool[Tensor, "h w"]:
    """Equilateral with a corner at the top; its three sides are at `inner` from the centroid."""
    inner = math.sqrt(area / (3 * math.sqrt(3)))
    slope = math.sqrt(3) / 2 * u.abs() - v / 2
    return (v <= inner) & (slope <= inner)


def _ring(u: Tensor, v: Tensor, area: float) -> Bool[Tensor, "h w"]:
    outer = area / (math.pi * (1 - _RING**2))
    squared = u**2 + v**2
    return (squared <= outer) & (squared >= outer * _RING**2)


def _cross(u: Tensor, v: Tensor, area: float) -> Bool[Tensor, "h w"]:
    reach = math.sqrt(area / (8 * _ARM - 4 * _ARM**2))
    long, short = torch.maximum(u.abs(), v.abs()), torch.minimum(u.abs(), v.abs())
    return (long <= reach) & (short <= _ARM * reach)


def _star(u: Tensor, v: Tensor, area: float) -> Bool[Tensor, "h w"]:
    """Five points, one at the top. Folded into a tenth, it is one side of a line between two corners."""
    tenth = math.pi / 5
    outer = math.sqrt(area / (5 * _STAR * math.sin(tenth)))
    angle = torch.atan2(u, -v)
    folded = (torch.remainder(angle + tenth, 2 * tenth) - tenth).abs()
    radius = torch.hypot(u, v)
    along, aside = radius * folded.cos(), radius * folded.sin()
    inner_along, inner_aside = _STAR * outer * math.cos(tenth), _STAR * outer * math.sin(tenth)
    return (outer - along) * inner_aside >= aside * (outer - inner_along)


FORMS: dict[str, _Inside] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
}
