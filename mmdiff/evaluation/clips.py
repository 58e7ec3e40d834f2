"""What is measured of clips."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mmdiff import counter
from mmdiff.evaluation.measure import Kind, Measure, apart, averaged, percent
from mmdiff.metrics import motion
from mmdiff.metrics.kernel import energy, standardised
from mmdiff.metrics.trajectory import Fit, Track, fit, track

_PART = 16  # clips worked on at once; bounds the memory
_LEAST = (0.01, 1e-3)  # shorter sides a second and of full scale: motion and flicker that nobody sees
_NEPER = 0.1  # of temporal spectra: what varies by less between real clips does not count
_USUAL = (0.1, 0.9)  # quantiles of the real clips' motion


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one size and rate, and what they should show.

    Attributes:
        values: frames of 8 bits.
        fps: frames a second.
        known: what was asked for, in words that `trajectory.fit` knows; None when clips follow no known law.
    """

    values: UInt8[Tensor, "n f h w 3"]
    fps: float
    known: Sequence[Mapping[str, Any]] | None = None

    @cached_property
    def tracks(self) -> list[Track]:
        """Where the one shape of each clip is."""
        return [track(clip) for clip in self.values]

    @cached_property
    def flowing(self) -> Float[Tensor, "n 2"]:
        """The amount of motion, and what it leaves unexplained."""
        rows = []
        for part in self.values.split(_PART):
            found = motion.flows(part)
            rows.append(torch.stack([motion.amount(found, self.fps), motion.warp_error(part, found)], 1))
        return torch.cat(rows)

    @cached_property
    def flicker(self) -> Float[Tensor, " n"]:
        """How much frames differ."""
        return torch.cat([motion.flicker(part) for part in self.values.split(_PART)])

    @cached_property
    def spectrum(self) -> Float[Tensor, "n k"]:
        """Over time: the mean level in nepers, and how each frequency differs from it."""
        found = torch.cat([motion.temporal_spectrum(part) for part in self.values.split(_PART)])
        level = found.mean(1, keepdim=True)
        return torch.cat([level, found - level], 1)

    def rolled(self) -> "Clips":
        """The same, each in the place of the one after it."""
        known = None if self.known is None else [self.known[-1], *self.known[:-1]]
        return replace(self, values=self.values.roll(1, 0), known=known)


def ceilings(twins: Clips, seed: int) -> dict[str, Clips]:
    """First frames that stand still, frames in another order, and noise with the colours' mean and spread."""
    values = twins.values
    count, frames = values.shape[:2]
    orders = torch.tensor([counter.permutation(seed, "jumble", index, size=frames) for index in range(count)])
    real = values.float()
    mean, spread = real.mean((0, 1, 2, 3)), real.std((0, 1, 2, 3))
    noise = mean + spread * counter.normal(seed, "noise", shape=values.shape)
    sets = {
        "frozen": values[:, :1].expand_as(values),
        "jumbled": values[torch.arange(count)[:, None], orders],
        "noise": noise.round().clamp(0, 255).to(torch.uint8),
    }
    return {name: Clips(found, twins.fps) for name, found in sets.items()}


def measures(lawful: bool) -> Sequence[Measure[Clips]]:
    """All measures of clips.

    Args:
        lawful: whether it is known by which law the twins move.
    """
    return [*(LAW if lawful else ()), *GENERAL]


@lru_cache(maxsize=8)  # of the columns of a report: every measure of the law asks for the same
def _fits(judged: Clips, twins: Clips) -> Float[Tensor, "n 6"]:
    """How each clip keeps to what was asked of its twin; the columns are those of `Fit`."""
    assert twins.known is not None
    fits = [fit(seen, known, judged.fps) for seen, known in zip(judged.tracks, twins.known, strict=True)]
    return torch.tensor(fits, dtype=torch.float32)


def _fitted(name: str, unit: float = 1.0) -> Callable[[Clips, Clips], Float[Tensor, " n"]]:
    """One column of the fits."""
    column = Fit._fields.index(name)
    return lambda judged, twins: unit * _fits(judged, twins)[:, column]


def _is(name: str) -> Callable[[Clips, Clips], Bool[Tensor, " n"]]:
    """One column of the fits that is yes or no."""
    return lambda judged, twins: _fitted(name)(judged, twins) > 0


def _usual(judged: Clips, twins: Clips) -> Bool[Tensor, " n"]:
    """Whether a clip moves as much as the middle 80 % of the real ones."""
    low, high = twins.flowing[:, 0].quantile(torch.tensor(_USUAL))
    return (judged.flowing[:, 0] >= low) & (judged.flowing[:, 0] <= high)


def _liveliness(judged: Clips, twins: Clips) -> tuple[Tensor, Tensor]:
    """Motion and flicker, on the scale of the real ones."""
    x, y = (torch.stack([clips.flowing[:, 0], clips.flicker], 1) for clips in (judged, twins))
    least = torch.tensor(_LEAST)
    return standardised(x / least, y / least, 1.0), standardised(y / least, y / least, 1.0)


def _spectra(judged: Clips, twins: Clips) -> tuple[Tensor, Tensor]:
    """Both on the scale of the real ones."""
    x, y = judged.spectrum, twins.spectrum
    return standardised(x, y, _NEPER), standardised(y, y, _NEPER)


LAW: Sequence[Measure[Clips]] = (
    Measure("position error", "px, lower is better", Kind.ASKED, averaged(_fitted("error"), torch.median)),
    Measure(
        "at any velocity",
        "px, lower is better",
        Kind.ASKED,
        averaged(_fitted("free_error"), torch.median),
    ),
    Measure(
        "speed error", "%, lower is better", Kind.ASKED, averaged(_fitted("speed_error", 100), torch.median)
    ),
    Measure("right direction", "%, higher is better", Kind.ASKED, percent(_is("heading"))),
    Measure("right shape and colour", "% of frames, higher", Kind.ASKED, averaged(_fitted("identity", 100))),
    Measure("shapes that stand still", "%, lower is better", Kind.ASKED, percent(_is("frozen"))),
)
GENERAL: Sequence[Measure[Clips]] = (
    Measure(
        "motion",
        "sides/s, as real ones",
        Kind.ITSELF,
        averaged(lambda x, y: x.flowing[:, 0], torch.median),
    ),
    Measure(
        "flicker",
        "of 255, as real ones",
        Kind.ITSELF,
        averaged(lambda x, y: 255 * x.flicker, torch.median),
    ),
    Measure("motion of the usual size", "%, 80 for real ones", Kind.SET, percent(_usual)),
    Measure("motion and flicker", "energy, lower is better", Kind.SET, apart(_liveliness, energy)),
    Measure(
        "warp error",
        "of 255, lower is better",
        Kind.ITSELF,
        averaged(lambda x, y: 255 * x.flowing[:, 1], torch.median),
    ),
    Measure("temporal spectrum", "energy, lower is better", Kind.SET, apart(_spectra, energy)),
)
