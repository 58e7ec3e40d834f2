"""What is measured of sounds."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from mmdiff import counter
from mmdiff.evaluation.features import embedded
from mmdiff.evaluation.measure import Kind, Measure, apart, averaged, percent
from mmdiff.metrics import pitch, sounds
from mmdiff.metrics.kernel import energy, mmd, standardised
from mmdiff.metrics.logmel import log_mel_statistics
from mmdiff.metrics.loudness import loudness

MISSED = 1200.0  # cents: errors count up to an octave, and a sound without a pitch has this one
_PART = 16  # sounds worked on at once; bounds the memory
_THOUSANDTH = 1e-3


@dataclass(frozen=True, eq=False)
class Sounds:
    """Sounds of one length, and the pitches that they should have.

    Attributes:
        waves: full scale is 1.
        asked: MIDI numbers, NaN where nobody asked; None when pitch is no matter.
    """

    waves: Float[Tensor, "n c s"]
    sample_rate: int
    asked: Float[Tensor, " n"] | None = None

    @cached_property
    def mono(self) -> Float[Tensor, "n s"]:
        """The mean of the channels."""
        return self.waves.mean(1)

    @cached_property
    def pitch(self) -> pitch.Pitch:
        """What the judge of pitches hears."""
        return pitch.pitch(self.mono, self.sample_rate)

    @cached_property
    def bands(self) -> Float[Tensor, "n d"]:
        """Statistics of mel bands."""
        parts = [log_mel_statistics(part, self.sample_rate) for part in self.mono.split(_PART)]
        return torch.cat(parts)

    @cached_property
    def embedding(self) -> Float[Tensor, "n d"]:
        """What a network that was trained on sound effects sees."""
        return embedded(self.mono, self.sample_rate)

    def rolled(self) -> "Sounds":
        """The same, each in the place of the one after it."""
        asked = None if self.asked is None else self.asked.roll(1)
        return dataclasses.replace(self, waves=self.waves.roll(1, 0), asked=asked)


def ceilings(twins: Sounds, seed: int) -> dict[str, Sounds]:
    """Silence, and white noise at the level of each real sound."""
    level = twins.waves.square().mean((1, 2), keepdim=True).sqrt()
    noise = counter.normal(seed, "noise", shape=twins.waves.shape) * level
    silence = torch.zeros_like(twins.waves)
    return {
        "silence": Sounds(silence, twins.sample_rate),
        "noise": Sounds(noise, twins.sample_rate),
    }


def measures(pitched: bool, embeddings: bool = False) -> Sequence[Measure[Sounds]]:
    """All measures of sounds.

    Args:
        pitched: whether pitches were asked for.
        embeddings: whether to compare what a network sees, for which its package must be installed.
    """
    return [*(PITCH if pitched else ()), *GENERAL, *(EMBEDDINGS if embeddings else ())]


def _cents(judged: Sounds, twins: Sounds) -> Float[Tensor, " n"]:
    """How far from the asked pitch, without a sign, where one was asked for."""
    assert twins.asked is not None
    errors = pitch.cents(judged.pitch.midi, twins.asked).abs().clamp(max=MISSED)
    return torch.where(judged.pitch.voiced, errors, MISSED)[twins.asked.isfinite()]


def _paired(
    distance: Callable[[Tensor, Tensor, int], Tensor], scale: float = 1.0
) -> Callable[[Sounds, Sounds], Float[Tensor, " n"]]:
    """A distance of mono waves from those of the twins."""

    def values(judged: Sounds, twins: Sounds) -> Float[Tensor, " n"]:
        pairs = zip(judged.mono.split(_PART), twins.mono.split(_PART), strict=True)
        return scale * torch.cat([distance(x, y, twins.sample_rate) for x, y in pairs])

    return values


def _onset_error(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    return (sounds.onset(x, sample_rate) - sounds.onset(y, sample_rate)).abs()


def _loudness_difference(judged: Sounds, twins: Sounds) -> Float[Tensor, " n"]:
    return (loudness(judged.waves, judged.sample_rate) - loudness(twins.waves, twins.sample_rate)).abs()


def _bands(judged: Sounds, twins: Sounds) -> tuple[Tensor, Tensor]:
    """Both on the scale of the real ones, of which a deviation below 1 dB does not count."""
    return standardised(judged.bands, twins.bands, 1.0), standardised(twins.bands, twins.bands, 1.0)


def _embeddings(judged: Sounds, twins: Sounds) -> tuple[Tensor, Tensor]:
    """Both in units of the real ones' root mean square."""
    scale = twins.embedding.square().mean().sqrt().clamp_min(1e-12)
    return judged.embedding / scale, twins.embedding / scale


PITCH: Sequence[Measure[Sounds]] = (
    Measure("pitch error", "cents, lower is better", Kind.ASKED, averaged(_cents, torch.median)),
    Measure("within 20 cents", "%, higher is better", Kind.ASKED, percent(lambda x, y: _cents(x, y) <= 20)),
    Measure("within 50 cents", "%, higher is better", Kind.ASKED, percent(lambda x, y: _cents(x, y) <= 50)),
)
GENERAL: Sequence[Measure[Sounds]] = (
    Measure(
        "harmonics to noise",
        "dB, as real ones",
        Kind.ITSELF,
        averaged(lambda x, y: pitch.harmonicity(x.pitch.strength), torch.median),
    ),
    Measure(
        "onset error", "ms, lower is better", Kind.TWIN, averaged(_paired(_onset_error, 1000.0), torch.median)
    ),
    Measure("envelope error", "dB, lower is better", Kind.TWIN, averaged(_paired(sounds.envelope_error))),
    Measure(
        "envelope correlation",
        "higher is better",
        Kind.TWIN,
        averaged(_paired(sounds.envelope_correlation)),
    ),
    Measure("loudness difference", "LU, lower is better", Kind.TWIN, averaged(_loudness_difference)),
    Measure(
        "spectral convergence",
        "lower is better",
        Kind.TWIN,
        averaged(_paired(lambda x, y, rate: sounds.spectral_distance(x, y).convergence)),
    ),
    Measure(
        "log spectral distance",
        "nepers, lower is better",
        Kind.TWIN,
        averaged(_paired(lambda x, y, rate: sounds.spectral_distance(x, y).log_magnitude)),
    ),
    Measure("log-mel statistics", "energy, lower is better", Kind.SET, apart(_bands, energy)),
    Measure(
        "clipped samples",
        "%, as real ones",
        Kind.ITSELF,
        averaged(lambda x, y: 100 * sounds.clipped(x.waves.flatten(1))),
    ),
    Measure(
        "silent parts",
        "%, as real ones",
        Kind.ITSELF,
        averaged(lambda x, y: 100 * sounds.silent(x.mono, x.sample_rate)),
    ),
    Measure(
        "sounds that clip",
        "%, as real ones",
        Kind.ITSELF,
        percent(lambda x, y: sounds.clipped(x.waves.flatten(1)) > 0),
    ),
    Measure(
        "silent sounds",
        "%, as real ones",
        Kind.ITSELF,
        percent(lambda x, y: sounds.silent(x.mono, x.sample_rate) == 1),
    ),
)
EMBEDDINGS: Sequence[Measure[Sounds]] = (
    Measure("aisfx features", "MMD x 1000, lower better", Kind.SET, apart(_embeddings, mmd, _THOUSANDTH)),
)
