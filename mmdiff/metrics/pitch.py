"""The pitch of notes from the waveform alone, and how far it is from the asked one.

The method is Boersma's (1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-
to-noise ratio of a sampled sound", IFA Proceedings 17:97): the lag at which the sound is most like itself,
from the autocorrelation divided by that of the analysis window. A note has one pitch, so the autocorrelations
of all frames are added up, which weighs a frame by its energy, before the lag is looked for.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmdiff.metrics.intervals import Rate, wilson

LOWEST, HIGHEST = 27.5, 5000.0  # Hz: from the lowest key of a piano to beyond its highest
VOICED = 0.5  # a second of white noise reaches 0.1, a tenth 0.2; notes of real instruments 0.8 to 1
_FRAME = 0.5  # seconds, rounded to a power of two of samples: 14 periods of the lowest pitch
_RUMBLE = 20.0  # Hz; what is below is not heard, and would hide where the autocorrelation first falls below 0
_FINENESS = 4  # lags between two samples; with it sines are read within 0.1 cents up to HIGHEST
# A pitch an octave lower must repeat this much better: two periods are a period too. Of 762 notes of 24
# instruments 99.0 % are within 50 cents with it; with a third of it 98.0 %, with a third more 99.0 %.
_OCTAVE_COST = 0.09
_NEAR = 0.1  # of a period: how far the second and the fourth period may be from where they should be
_AS_STRONG = 0.8  # of the first period's likeness, else they have died away and say nothing
_ROWS = 64  # worked on at once; bounds the memory


class Pitch(NamedTuple):
    """The pitch of each note, as a MIDI number with its fraction; 0 where there is none.

    `strength` is the share of the power that repeats with the pitch, 0 to 1.
    """

    midi: Float[Tensor, " b"]
    strength: Float[Tensor, " b"]
    voiced: Bool[Tensor, " b"]


def pitch(waves: Float[Tensor, "b s"], sample_rate: int) -> Pitch:
    """Reads one pitch from each wave, whatever its level; noise, silence and broken waves are unvoiced."""
    if not waves.numel():
        nothing = torch.zeros(len(waves))
        return Pitch(nothing, nothing, nothing.bool())
    parts = [_pitch(part, sample_rate) for part in waves.float().split(_ROWS)]
    midi, strength = (torch.cat(column) for column in zip(*parts, strict=True))
    voiced = strength >= VOICED
    return Pitch(torch.where(voiced, midi, 0), strength, voiced)


def _pitch(waves: Float[Tensor, "b s"], sample_rate: int) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """The best pitch and its strength, also where that is too small to count."""
    fine = sample_rate * _FINENESS
    likeness = _autocorrelation(waves, sample_rate)
    lags, at = torch.arange(1, likeness.shape[1] - 1), likeness[:, 1:-1]
    peak = (at > likeness[:, :-2]) & (at >= likeness[:, 2:])
    # Peaks before the first fall below 0 are on the hill around lag 0: ripples of a low note's high partials.
    allowed = peak & ((at < 0).cumsum(1) > 0) & (lags >= fine / HIGHEST) & (lags <= fine / LOWEST)
    lag, strength = _summit(likeness, allowed, at - _OCTAVE_COST * torch.log2(lags * HIGHEST / fine))
    # Partials that are not quite harmonic pull one period this way and the next one that way.
    for periods in (2, 4):
        near = (lags - periods * lag[:, None]).abs() <= _NEAR * lag[:, None]
        later, height = _summit(likeness, peak & near, at)
        lag = torch.where(height >= _AS_STRONG * strength, later / periods, lag)
    return 69 + 12 * torch.log2(fine / lag / 440), strength.clamp(0, 1)


def _summit(
    likeness: Float[Tensor, "b lags"], allowed: Bool[Tensor, "b peaks"], score: Float[Tensor, "b peaks"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Where the allowed peak of the best score is, by the parabola through its neighbours, and its height.

    Without an allowed peak the height is 0.
    """
    best = torch.where(allowed, score, -math.inf).argmax(1, keepdim=True) + 1
    left, top, right = (likeness.gather(1, best + aside)[:, 0] for aside in (-1, 0, 1))
    found = allowed.any(1)
    bend = torch.where(found, left - 2 * top + right, 1)
    return best[:, 0] + torch.where(found, 0.5 * (left - right) / bend, 0), torch.where(found, top, 0)


def _autocorrelation(waves: Float[Tensor, "b s"], sample_rate: int) -> Float[Tensor, "b lags"]:
    """Of all frames together, 1 at lag 0, at `_FINENESS` lags a sample and up to a quarter of a frame."""
    peak = waves.abs().amax(1, keepdim=True)
    sound = peak.isfinite() & (peak > 0)
    waves = torch.where(sound, waves / torch.where(sound, peak, 1), 0)
    length = min(2 ** round(math.log2(_FRAME * sample_rate)), max(waves.shape[1], 8))
    hop = length // 4
    # The first frame begins with the sound, so that its taper plays down the knock of a hammer or a pluck
    padded = torch.nn.functional.pad(waves, (0, length - waves.shape[1] if waves.shape[1] < length else hop))
    window = torch.hann_window(length)
    power = torch.fft.rfft(padded.unfold(1, length, hop) * window, 2 * length).abs().square().sum(1)
    power[:, : math.ceil(_RUMBLE * 2 * length / sample_rate)] = 0
    own = torch.fft.rfft(window, 2 * length).abs().square()
    size = 2 * length * _FINENESS  # zeros above the spectrum interpolate between the lags
    both = torch.fft.irfft(torch.cat([power, own[None]]), size)[:, : size // 8]
    likeness = both / both[:, :1].clamp_min(torch.finfo(both.dtype).tiny)
    return likeness[:-1] / likeness[-1]


def harmonicity(strength: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The harmonics-to-noise ratio in dB (Boersma, 1993, eq. 4), within -60 and 60.

    What decays or wavers repeats less well and counts as noise in part.
    """
    share = strength.double().clamp(1e-6, 1 - 1e-6)
    return (10 * torch.log10(share / (1 - share))).float()


def cents(found: Float[Tensor, "*b"], asked: Float[Tensor, "*c"]) -> Float[Tensor, "*d"]:
    """How much higher the found pitches (MIDI) are, in cents; shapes broadcast."""
    return 100 * (found - asked)


def folded(cents: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Errors in cents without whole octaves: -600 up to 600."""
    return torch.remainder(cents + 600, 1200) - 600


def agreement(found: Pitch, asked: Float[Tensor, " b"]) -> dict[str, Rate]:
    """How often the pitch is the asked one (MIDI); an unvoiced note is a failure.

    `within 20` and `within 50` are cents; `octaves aside` is within 50 of the asked note in any octave;
    `octave off` is what the two differ by; `voiced` has a pitch at all.

    Raises:
        ValueError: there are not as many pitches as notes, or none.
    """
    if len(found.midi) != len(asked) or not len(asked):
        raise ValueError(f"agreement: {len(found.midi)} notes for {len(asked)} pitches, expected as many")
    errors = cents(found.midi, asked)
    within = {n: found.voiced & (errors.abs() <= n) for n in (20, 50)}
    anywhere = found.voiced & (folded(errors).abs() <= 50)
    right = {
        "within 20": within[20],
        "within 50": within[50],
        "octaves aside": anywhere,
        "octave off": anywhere & ~within[50],
        "voiced": found.voiced,
    }
    return {name: wilson(int(good.sum()), len(asked)) for name, good in right.items()}
