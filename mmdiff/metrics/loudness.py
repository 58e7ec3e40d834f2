"""Integrated loudness in LUFS as ITU-R BS.1770-4 defines it, at any sample rate."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SILENT = -70.0  # LUFS: the absolute gate, and what is given for what never passes it
_STEP, _STEPS = 0.1, 4  # seconds between blocks, and how many of them a block has
_RELATIVE_GATE = -10.0  # LU below the mean of what passes the absolute gate
_OFFSET = -0.691  # dB, so that a sine of 997 Hz at full scale is at -3.01 LUFS


def loudness(waves: Float[Tensor, "b c s"], sample_rate: int) -> Float[Tensor, " b"]:
    """The loudness of clips of one or two channels.

    A clip shorter than a block of 0.4 s counts as one block; silence gives `SILENT`.
    """
    if not waves.shape[-1]:
        return torch.full((len(waves),), SILENT)
    power, step = _weighted(waves, sample_rate).square().sum(1), max(round(_STEP * sample_rate), 1)
    if power.shape[1] < _STEPS * step:
        power = power.mean(1, keepdim=True)
    else:
        power = power.unfold(1, step, step).mean(2).unfold(1, _STEPS, 1).mean(2)
    levels = _OFFSET + 10 * torch.log10(power.clamp_min(1e-20))
    heard = levels > SILENT
    gate = _mean(power, heard) + _RELATIVE_GATE
    return _mean(power, heard & (levels > gate[:, None])).float()


def _mean(power: Float[Tensor, "b l"], used: Tensor) -> Float[Tensor, " b"]:
    """The level of the mean power of the used blocks."""
    mean = (power * used).sum(1) / used.sum(1).clamp_min(1)
    return (_OFFSET + 10 * torch.log10(mean.clamp_min(1e-20))).clamp_min(SILENT)


def _weighted(waves: Float[Tensor, "b c s"], sample_rate: int) -> Float[Tensor, "b c s"]:
    """The waves through both filters of the K weighting; the filters ring for less than the padding."""
    samples = waves.shape[-1]
    size = 2 ** math.ceil(math.log2(samples + sample_rate // 2))
    z = torch.exp(-2j * math.pi * torch.arange(size // 2 + 1, dtype=torch.float64) / size)
    response = _shelf(z, sample_rate) * _high_pass(z, sample_rate)
    return torch.fft.irfft(torch.fft.rfft(waves.double(), size) * response, size)[..., :samples]


# The standard gives both filters as numbers for 48 kHz. These are the analogue filters behind the numbers,
# bent to another rate (corner frequencies, Q and gain that reproduce the numbers, as libebur128 has them).


def _shelf(z: Tensor, sample_rate: int) -> Tensor:
    """Stage 1: 4 dB more above 1.7 kHz, for the head."""
    corner, q, decibels = 1681.974450955533, 0.7071752369554196, 3.999843853973347
    k, high = math.tan(math.pi * corner / sample_rate), 10 ** (decibels / 20)
    middle = high**0.4996667741545416
    above = (high + middle * k / q + k * k) + 2 * (k * k - high) * z + (high - middle * k / q + k * k) * z**2
    return above / _poles(z, k, q)


def _high_pass(z: Tensor, sample_rate: int) -> Tensor:
    """Stage 2: less below 38 Hz. The standard's numerator is 1, -2, 1 as it is, at 48 kHz and at any rate."""
    corner, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * corner / sample_rate)
    return (1 - 2 * z + z**2) * (1 + k / q + k * k) / _poles(z, k, q)


def _poles(z: Tensor, k: float, q: float) -> Tensor:
    return (1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2
