"""What a sound is like over its whole length: the level and the variation of each mel band."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_FRAME = 0.064  # seconds, rounded to a power of two of samples: the lowest bands have a bin of their own
_QUIETEST = -80.0  # dB of a full-scale sine: what is below counts as being there


def log_mel_statistics(
    waves: Float[Tensor, "b s"], sample_rate: int, bands: int = 40
) -> Float[Tensor, "b d"]:
    """The mean and the standard deviation over time of the level of each mel band, in dB.

    First all means, then all deviations. Timbre, level and how much they move are in it; pitch, the order
    in time and phase are not, or hardly.
    """
    size = max(2 ** round(math.log2(_FRAME * sample_rate)), 8)
    window = torch.hann_window(size)
    spectrum = torch.stft(waves, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    power = (spectrum.abs() * (2 / window.sum())).square()
    levels = 10 * torch.log10(
        (mel_bands(sample_rate, size, bands).T @ power).clamp_min(10 ** (_QUIETEST / 10))
    )
    return torch.cat([levels.mean(2), levels.std(2, correction=0)], 1)


def mel_bands(sample_rate: int, size: int, bands: int) -> Float[Tensor, "bins bands"]:
    """Triangles that overlap by half, evenly spaced from 0 Hz to half the sample rate on the mel scale.

    The scale is 2595 log10(1 + hertz / 700) (O'Shaughnessy, 1987, Speech Communication, p. 150).
    """
    highest = 2595 * math.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, highest, bands + 2) / 2595) - 1)
    hertz = torch.linspace(0, sample_rate / 2, size // 2 + 1)[:, None]
    rise = (hertz - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - hertz) / (corners[2:] - corners[1:-1])
    return torch.minimum(rise, fall).clamp_min(0)
