"""Sample rates and channel counts changed, explicitly and without state."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import resample

# torchaudio keeps a filter for each phase: 160 x 441 taps from 44.1 to 16 kHz, 8 GB from 44,101 to 44,100.
_MOST_TAPS = 2**22
_ZEROS, _ROLLOFF = 6, 0.99  # torchaudio's defaults: zero crossings on a side, share of the band kept


def resampled(wave: Float[Tensor, "*b c s"], old: int, new: int) -> Float[Tensor, "*b c s2"]:
    """The wave at another sample rate, exactly ``ceil(s * new / old)`` samples long.

    A sinc windowed by a Hann window, with zeros beyond both ends; the same filter whatever the two rates are.

    Args:
        old: Hz, of the wave.
        new: Hz.
    """
    if old < 1 or new < 1:
        raise ValueError(f"sample rates {old} and {new}: expected at least 1 Hz")
    common = math.gcd(old, new)
    if old == new or not wave.numel():
        return wave
    if (old // common) * (new // common) > _MOST_TAPS:
        return _interpolated(wave, old // common, new // common)
    samples = -(-wave.shape[-1] * new // old)
    made = resample(wave, old, new, _ZEROS, _ROLLOFF)[..., :samples]
    # torchaudio counts in float32, which is a sample or two off beyond 2^24
    return torch.nn.functional.pad(made, (0, samples - made.shape[-1]))


def _interpolated(wave: Tensor, old: int, new: int) -> Tensor:
    """The same filter evaluated for each new sample on its own, in pieces of bounded size."""
    samples = -(-wave.shape[-1] * new // old)
    cut = min(old, new) * _ROLLOFF / old  # of the old band
    width = math.ceil(_ZEROS / cut)
    padded = torch.nn.functional.pad(wave, (width, width + 1))
    taps = torch.arange(-width, width + 1, device=wave.device)
    piece, pieces = max(_MOST_TAPS // len(taps), 1), []
    for start in range(0, samples, piece):
        at = torch.arange(start, min(start + piece, samples), device=wave.device)
        whole, rest = at * old // new, at * old % new  # integers: exact however long the wave is
        t = (taps - rest[:, None].double() / new) * cut
        window = torch.cos(t.clamp(-_ZEROS, _ZEROS) * (math.pi / _ZEROS / 2)).square()
        kernel = (torch.sinc(t) * window * cut).to(wave.dtype)
        pieces.append((padded[..., whole[:, None] + taps + width] * kernel).sum(-1))
    return torch.cat(pieces, -1)


def mapped(wave: Float[Tensor, "*b c s"], channels: int) -> Float[Tensor, "*b c2 s"]:
    """The wave with another number of channels: mixed to one by their mean, then copied to all.

    With the right number already there, nothing changes.
    """
    if channels < 1:
        raise ValueError(f"{channels} channels: expected at least 1")
    if wave.shape[-2] == channels:
        return wave
    mono = wave.mean(-2, keepdim=True)
    return mono.expand(*wave.shape[:-2], channels, wave.shape[-1]).contiguous()
