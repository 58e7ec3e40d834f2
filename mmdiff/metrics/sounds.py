"""Measures of sounds that need no reference network: level, envelope, onset, seams and spectral distance.

All take mono waves `b s`, treat each row by itself, and stay finite on silence. Times are in seconds, levels
in dB of full scale.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

FLOOR = -120.0  # dB: what silence is given
SILENCE = -60.0  # dB: frames below it count as silent
_CLIP = 1 - 2.0**-15  # the largest value of 16 bits
_FRAME, _HOP = 0.02, 0.01  # seconds, of the RMS curve: one period of the lowest pitch that most voices have
_SHORT, _STEP = 0.005, 0.001  # seconds, where an onset is looked for
_ONSET = 0.1  # of the largest RMS
_FLUX_FRAME, _FLUX_HOP = 0.032, 0.008  # seconds
_NEAR = 0.032  # seconds on either side of a seam whose frames touch it
_FAINT = 1e-5  # a magnitude that the last of 16 bits exceeds; keeps distances from silence finite
_RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # samples: transform, hop, window


class Seam(NamedTuple):
    """How a seam stands out: its flux over the others' 95 % quantile, and the share of them below it."""

    ratio: Float[Tensor, " b"]
    rank: Float[Tensor, " b"]


class SpectralDistance(NamedTuple):
    """Spectral convergence (0 is equal, 1 is silence) and the mean distance of log magnitudes in nepers."""

    convergence: Float[Tensor, " b"]
    log_magnitude: Float[Tensor, " b"]


def decibels(amplitude: Tensor) -> Tensor:
    """20 log10 of an amplitude, at least `FLOOR`."""
    return 20 * torch.log10(amplitude.clamp_min(10 ** (FLOOR / 20)))


def rms(waves: Float[Tensor, "b s"]) -> Float[Tensor, " b"]:
    """The level of the whole clip."""
    return decibels(waves.square().mean(1).sqrt())


def peak(waves: Float[Tensor, "b s"]) -> Float[Tensor, " b"]:
    """The level of the largest sample."""
    return decibels(waves.abs().amax(1))


def clipped(waves: Float[Tensor, "b s"]) -> Float[Tensor, " b"]:
    """The share of samples at or beyond full scale of 16 bits."""
    return (waves.abs() >= _CLIP).float().mean(1)


def silent(waves: Float[Tensor, "b s"], sample_rate: int) -> Float[Tensor, " b"]:
    """The share of frames of 20 ms below `SILENCE`."""
    return (decibels(envelope(waves, sample_rate)) < SILENCE).float().mean(1)


def envelope(
    waves: Float[Tensor, "b s"], sample_rate: int, frame: float = _FRAME, hop: float = _HOP
) -> Float[Tensor, "b l"]:
    """The RMS curve: the amplitude of frames every `hop` seconds, the first one centred on time 0."""
    return _frames(waves, sample_rate, frame, hop).square().mean(-1).sqrt()


def envelope_error(
    found: Float[Tensor, "b s"], asked: Float[Tensor, "b s"], sample_rate: int
) -> Float[Tensor, " b"]:
    """The mean difference of two RMS curves in dB; what is below `SILENCE` counts as being there."""
    curves = [decibels(envelope(waves, sample_rate)).clamp_min(SILENCE) for waves in (found, asked)]
    return (curves[0] - curves[1]).abs().mean(1)


def envelope_correlation(
    found: Float[Tensor, "b s"], asked: Float[Tensor, "b s"], sample_rate: int
) -> Float[Tensor, " b"]:
    """Pearson's correlation of two RMS curves, whatever their levels; 0 where one is constant."""
    curves = [envelope(waves, sample_rate).double() for waves in (found, asked)]
    x, y = (curve - curve.mean(1, keepdim=True) for curve in curves)
    scale = (x.square().sum(1) * y.square().sum(1)).sqrt()
    return ((x * y).sum(1) / scale.clamp_min(1e-12)).float()


def onset(waves: Float[Tensor, "b s"], sample_rate: int) -> Float[Tensor, " b"]:
    """When the sound begins: its RMS over 5 ms first reaches a tenth of the largest. Silence never does.

    It is right within 7 ms for attacks of up to 20 ms; what never begins is given the clip's length.
    """
    curve = envelope(waves, sample_rate, _SHORT, _STEP)
    reached = (curve >= _ONSET * curve.amax(1, keepdim=True)) & (decibels(curve) >= SILENCE)
    first = reached.int().argmax(1) * max(round(_STEP * sample_rate), 1) / sample_rate
    return torch.where(reached.any(1), first, waves.shape[1] / sample_rate)


def flux(waves: Float[Tensor, "b s"], sample_rate: int) -> Float[Tensor, "b l"]:
    """How much each spectrum differs from the one before it, 8 ms earlier: 0 the same, 1 nothing in common.

    It is the norm of the difference of magnitudes over the norm of their sum, so the level has no influence
    until both are 60 dB below the loudest frame of the clip.
    """
    frames = _frames(waves, sample_rate, _FLUX_FRAME, _FLUX_HOP)
    size = torch.fft.rfft(frames * torch.hann_window(frames.shape[-1])).abs()
    norms = size.norm(dim=-1)
    faint = 1e-3 * norms.amax(1, keepdim=True) + torch.finfo(norms.dtype).tiny
    change, total = size.diff(dim=1).norm(dim=-1), (size[:, 1:] + size[:, :-1]).norm(dim=-1)
    return change / torch.maximum(total, faint)


def flux_at(waves: Float[Tensor, "b s"], at: float, sample_rate: int) -> Float[Tensor, " b"]:
    """The largest flux of the frames that touch a time in seconds. Raises ValueError if there is none."""
    fluxes = flux(waves, sample_rate)
    return fluxes[:, _near(fluxes, at, sample_rate)].amax(1)


def _near(fluxes: Float[Tensor, "b l"], at: float, sample_rate: int) -> Bool[Tensor, " l"]:
    """Which fluxes touch a time. Raises ValueError if none does."""
    hop = max(round(_FLUX_HOP * sample_rate), 1) / sample_rate
    near = ((torch.arange(fluxes.shape[1]) + 0.5) * hop - at).abs() <= _NEAR
    if not near.any():
        raise ValueError(f"seam: at {at} s, expected a time inside clips of {hop * fluxes.shape[1]:g} s")
    return near


def seam(
    waves: Float[Tensor, "b s"],
    at: float,
    sample_rate: int,
    reference: Float[Tensor, " n"] | None = None,
) -> Seam:
    """Compares the largest flux near `at` seconds with that elsewhere in the clip, or in real sounds.

    Args:
        waves: clips with a seam at the same time.
        at: where two windows or parts meet.
        sample_rate: Hz.
        reference: fluxes of sounds without a seam, in place of the clip's own; as many as there are.

    Raises:
        ValueError: the clip has no frame near `at`, or none elsewhere.
    """
    fluxes = flux(waves, sample_rate)
    near = _near(fluxes, at, sample_rate)
    if reference is None and near.all():
        raise ValueError(f"seam: at {at} s, expected clips longer than {waves.shape[1] / sample_rate} s")
    others = fluxes[:, ~near] if reference is None else reference.expand(len(fluxes), -1)
    here = fluxes[:, near].amax(1)
    usual = others.quantile(0.95, dim=1).clamp_min(1e-6)
    return Seam(here / usual, (others < here[:, None]).float().mean(1))


def spectral_distance(found: Float[Tensor, "b s"], real: Float[Tensor, "b s"]) -> SpectralDistance:
    """The distance of paired sounds, the mean of three resolutions.

    It is the loss of Parallel WaveGAN (Yamamoto et al., 2020, eq. 3-6), but that magnitudes count from 80 dB
    below the largest of the real sound.
    """
    parts = [_distance(found, real, *resolution) for resolution in _RESOLUTIONS]
    return SpectralDistance(*(torch.stack(column).mean(0) for column in zip(*parts, strict=True)))


def _distance(found: Tensor, real: Tensor, size: int, hop: int, window: int) -> tuple[Tensor, Tensor]:
    taper = torch.hann_window(window)
    x, y = (
        torch.stft(waves, size, hop, window, taper, pad_mode="constant", return_complex=True).abs()
        for waves in (found, real)
    )
    convergence = (y - x).norm(dim=(1, 2)) / y.norm(dim=(1, 2)).clamp_min(_FAINT)
    least = (1e-4 * y.amax((1, 2), keepdim=True)).clamp_min(_FAINT)
    logs = torch.maximum(x, least).log() - torch.maximum(y, least).log()
    return convergence, logs.abs().mean((1, 2))


def _frames(waves: Tensor, sample_rate: int, length: float, hop: float) -> Tensor:
    """Frames of `length` seconds every `hop` seconds, centred on multiples of the hop, as `b l samples`."""
    samples, step = max(round(length * sample_rate), 1), max(round(hop * sample_rate), 1)
    padded = pad(waves, (samples // 2, samples - samples // 2))
    return padded.unfold(1, samples, step)
