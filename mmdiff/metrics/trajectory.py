"""An independent judge of clips with one shape that bounces: where it is, and whether it keeps to the law.

The law: the centre moves straight on at one speed between four walls, each of which turns it back.
The judge shares no code with what draws such clips. It finds the shape in each frame by itself, and fits the
start, or the start and the velocity, by search.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mmdiff.metrics.motion import floats
from mmdiff.metrics.shapes import COLOURS, FORMS, Reading, judge

_Way = tuple[int, int]  # right, down
_WAYS = {
    "right": (1, 0),
    "left": (-1, 0),
    "down": (0, 1),
    "up": (0, -1),
    "down and right": (1, 1),
    "up and left": (-1, -1),
}
_COMPASS = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
_SPEED = 0.5  # shorter sides a second
_WALL = 0.187  # shorter sides between an edge and the centre, when it turns
_FASTEST, _PACES = 1.0, 64  # shorter sides a second that are looked for, and how many speeds below
_TRIED, _ZOOM = 65, 32  # starts (or speeds) in one search, and how much narrower the second one is
# What a picture of a shape must have. A shape covers 5 to 9 % of a square one and its pixels are, in the root
# mean square, less than 0.14 shorter sides from its centroid; those of scattered noise are three times that.
_LEAST_CONTRAST, _LEAST_AREA, _MOST_SPREAD = 0.2, 0.005, 0.25
_FAINT = 0.2  # of the strongest contrast: what is below it is noise
_TIE = 0.01  # shorter sides: fits that differ by less are equally good, as of what starts beside a wall
_PLAIN = 0.5  # of the distance from standing still: what is not explained by more has no direction
_STILL = 1 / 16  # of the way to go: what stays so near to one place is frozen; a way there and back has 1/8


class Track(NamedTuple):
    """What is seen of the one shape of a clip.

    Attributes:
        places: its centroid in pixels from the left and the top, NaN where no shape is seen.
        readings: what it is, by `judge`.
        size: of the frames, width and height in pixels.
    """

    places: Float[Tensor, "f 2"]
    readings: tuple[Reading, ...]
    size: tuple[int, int]


class Fit(NamedTuple):
    """How a clip keeps to what was asked for.

    Attributes:
        error: median distance in pixels from the law at the velocity asked for, with the best start. A frame
            without a shape counts as one shorter side away, which is also the most. Where no direction is
            asked for, it is the best of eight.
        free_error: the same with the best velocity too.
        speed_error: how far the best speed is from that of the law, in parts of it.
        heading: whether no direction of eight explains the track better than the one asked for, and standing
            still does not half as well. A clip whose shape turns back midway moves in either direction, only
            from another start; its reversal is right too. Where none is asked for: whether one of the eight
            explains the track, and standing still does not half as well.
        identity: the share of frames that show the shape in the colour.
        frozen: whether the shape stays where it is, or is not to be seen.
    """

    error: float
    free_error: float
    speed_error: float
    heading: bool
    identity: float
    frozen: bool


def track(clip: UInt8[Tensor, "f h w 3"] | Float[Tensor, "f h w 3"]) -> Track:
    """Follows the shape: the centroid of what differs from the median of the border, weighted by how much."""
    pixels = floats(clip).double()
    height, width = pixels.shape[1:3]
    edges = torch.cat([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], 1)
    contrast = (pixels - edges.median(1).values[:, None, None]).norm(dim=-1)
    strongest = contrast.amax((1, 2), keepdim=True)
    ink = (contrast / strongest.clamp_min(_LEAST_CONTRAST) - _FAINT).clamp_min(0) / (1 - _FAINT)
    (x, across), (y, down) = _moments(ink.sum(1)), _moments(ink.sum(2))
    there = strongest[:, 0, 0] >= _LEAST_CONTRAST
    there &= ink.mean((1, 2)) >= _LEAST_AREA
    there &= (across + down).sqrt() <= _MOST_SPREAD * min(height, width)
    places = torch.where(there[:, None], torch.stack([x, y], 1), torch.nan)
    frames = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
    return Track(places, tuple(judge(frame) for frame in frames), (width, height))


def _moments(ink: Float[Tensor, "f n"]) -> tuple[Float[Tensor, " f"], Float[Tensor, " f"]]:
    """Mean and variance of where the ink is, in pixels from the edge."""
    at, weight = torch.arange(ink.shape[1]) + 0.5, ink / ink.sum(1, keepdim=True)
    mean = weight @ at.double()
    return mean, (weight * (at - mean[:, None]).square()).sum(1)


def lawful(known: Mapping[str, Any]) -> bool:
    """Whether this says, in words that `fit` knows, all that it compares with."""
    way, colour, shape = (known.get(name) for name in ("direction", "colour", "shape"))
    return "direction" in known and way in (None, *_WAYS) and colour in COLOURS and shape in FORMS


def fit(seen: Track, known: Mapping[str, Any], fps: float) -> Fit:
    """Compares a track with the law.

    Args:
        seen: the track.
        known: what was asked for: `colour`, `shape` and `direction`, in words; None is any direction.
        fps: frames a second.
    """
    kept = [(r.colour, r.shape) == (known["colour"], known["shape"]) for r in seen.readings]
    identity, side = sum(kept) / len(kept), min(seen.size)
    there = seen.places[:, 0].isfinite()
    if there.sum() < 2:
        return Fit(side, side, 1.0, False, identity, True)
    times = torch.arange(len(there), dtype=torch.float64)[there] / fps
    axes = [
        _Axis(at, times, length - 2 * _WALL * side)
        for at, length in zip((seen.places[there] - _WALL * side).T, seen.size, strict=True)
    ]
    asked, speed = known["direction"], _SPEED * side
    free, way, heading = _freely(axes, _COMPASS if asked is None else [_WAYS[asked]], side)
    return Fit(
        _median(axes, [speed * step / math.hypot(*way) for step in way], there, side),
        _median(axes, free, there, side),
        abs(math.hypot(*free) / speed - 1),
        heading,
        identity,
        _frozen(seen.places[there], speed * (len(there) - 1) / fps, seen.size),
    )


class _Axis(NamedTuple):
    """The track along one axis, and the room between its walls, in pixels from the first wall."""

    at: Float[Tensor, " f"]
    times: Float[Tensor, " f"]
    room: float

    def away(self, starts: Float[Tensor, "v s"], velocities: Float[Tensor, " v"]) -> Float[Tensor, "v s f"]:
        """How far the track is from the law, whose path is a triangle wave."""
        straight = starts[..., None] + velocities[:, None, None] * self.times
        law = self.room / math.pi * torch.acos(torch.cos(straight * (math.pi / self.room)))
        return (law - self.at).abs()

    def starts(self, velocities: Float[Tensor, " v"]) -> tuple[Float[Tensor, "v 1"], Float[Tensor, " v"]]:
        """For each velocity the start that comes nearest, and its mean distance."""
        best, reach = torch.full_like(velocities, self.room / 2)[:, None], self.room / 2
        for _ in range(2):
            tried = (best + _around(reach)).clamp(0, self.room)
            losses, places = self.away(tried, velocities).mean(-1).min(1, keepdim=True)
            best, reach = tried.gather(1, places), reach / _ZOOM
        return best, losses[:, 0]


def _around(reach: float) -> Float[Tensor, " s"]:
    return torch.linspace(-reach, reach, _TRIED, dtype=torch.float64)


def _freely(axes: list[_Axis], ways: list[_Way], side: int) -> tuple[list[float], _Way, bool]:
    """The velocity that explains the track best; of the ways the best, and whether it does as well as any."""
    step = _FASTEST * side / _PACES
    grid = step * torch.arange(-_PACES, _PACES + 1, dtype=torch.float64)
    losses, free = [], []
    for axis in axes:
        losses.append(axis.starts(grid)[1])
        near = grid[losses[-1].argmin()] + _around(step)
        free.append(float(near[axis.starts(near)[1].argmin()]))
    paces = torch.arange(1, _PACES + 1)
    lost = {
        (x, y): float((losses[0][_PACES + x * paces] + losses[1][_PACES + y * paces]).min())
        for x, y in _COMPASS
    }
    still = float(losses[0][_PACES] + losses[1][_PACES])
    way = min(ways, key=lost.__getitem__)
    return free, way, lost[way] <= min(min(lost.values()) + _TIE * side, _PLAIN * still)


def _median(axes: list[_Axis], velocity: list[float], there: Tensor, side: int) -> float:
    """The median distance from the law at a velocity, with the best start."""
    apart = torch.full(there.shape, float(side), dtype=torch.float64)
    speeds = [torch.tensor([one], dtype=torch.float64) for one in velocity]
    x, y = (axis.away(axis.starts(v)[0], v)[0, 0] for axis, v in zip(axes, speeds, strict=True))
    apart[there] = torch.hypot(x, y).clamp(max=side)
    return float(apart.quantile(0.5))


def _frozen(places: Float[Tensor, "f 2"], way: float, size: tuple[int, int]) -> bool:
    """Whether the mean distance from the median place is far below what the way in pixels should make it."""
    room = min(size) * (1 - 2 * _WALL)
    spread = (places - places.quantile(0.5, dim=0)).norm(dim=1).mean()
    return bool(spread < _STILL * min(way, room))
