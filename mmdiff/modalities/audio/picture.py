"""A picture of a sound for dashboards: its spectrogram in decibels."""

import math

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor

LOWEST_DB = -90.0  # of a full-scale sine; what is below is as dark as silence
# Equal steps of CIELAB lightness, 2 to 97, with the hue turning from blue over red to yellow.
COLOURS = (
    (4, 7, 16),
    (30, 30, 75),
    (95, 34, 109),
    (159, 36, 114),
    (210, 60, 105),
    (243, 104, 93),
    (255, 153, 90),
    (255, 203, 115),
    (252, 247, 220),
)


def spectrogram(wave: Float[Tensor, "c s"], height: int = 128, width: int = 512) -> Pillow.Image:
    """Time from left to right, frequency from 0 at the bottom to half the sample rate at the top.

    The same colour is the same level in every picture. Channels are mixed to one.

    Args:
        height: pixels, one for a bin of a transform of twice as many samples.
        width: pixels at most; a short sound has fewer.

    Raises:
        ValueError: the wave has no samples, or numbers that are not finite.
    """
    if not wave.numel() or not bool(wave.isfinite().all()):
        raise ValueError("expected at least one sample, and finite numbers only")
    mono = wave.detach().float().cpu().mean(0)
    size = 2 * height
    hop = max(size // 4, math.ceil(len(mono) / width))
    window = torch.hann_window(size)
    padded = torch.nn.functional.pad(mono, (size // 2, size // 2))
    frames = torch.stack([padded[start : start + size] for start in range(0, len(mono), hop)])
    magnitude = torch.fft.rfft(frames * window).abs()[:, :height] * (2 / window.sum())
    level = 20 * magnitude.clamp_min(1e-9).log10()
    return Pillow.fromarray(_coloured((1 - level / LOWEST_DB).clamp(0, 1).T.flip(0).numpy()))


def _coloured(share: np.ndarray) -> np.ndarray:
    """Shares of the scale as uint8 RGB."""
    places = np.linspace(0, 1, len(COLOURS))
    parts = [np.interp(share, places, [colour[i] for colour in COLOURS]) for i in range(3)]
    return np.stack(parts, -1).round().astype(np.uint8)
