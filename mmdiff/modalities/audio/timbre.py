"""The timbre of a recording as a few numbers: what a style reference lends."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import create_dct, melscale_fbanks

_BANDS, _COEFFICIENTS = 64, 20  # of the mel spectrum, and of its cosine transform: formants, not partials
_SIZE, _HOP = 0.064, 0.016  # seconds of a frame, and from one to the next
_LOWEST = 60.0  # Hz, of the first band
_DEPTH = 60.0  # dB below the loudest band of the sound that are seen
_ATTACK = 0.1  # seconds
_SCALE = 30.0  # so that the numbers are of the order of one
FEATURES = 3 * _COEFFICIENTS


def timbre(wave: Float[Tensor, " s"], sample_rate: int) -> Float[Tensor, " d"]:
    """Mean, spread and attack of mel cepstral coefficients, whatever the level.

    These are those of Davis and Mermelstein (1980), of bands in dB above the faintest that are seen. Of
    six made timbres the nearest one at a pitch three semitones higher is always the same one.
    """
    size, hop = (round(seconds * sample_rate) for seconds in (_SIZE, _HOP))
    window = torch.hann_window(size)
    padded = F.pad(wave, (size // 2, size // 2 + max(0, size - len(wave))))
    power = torch.stft(padded, size, hop, window=window, center=False, return_complex=True).abs().square()
    bands = 10 * (_filters(sample_rate, size).T @ power).clamp_min(1e-12).log10()
    bands = (bands - bands.amax() + _DEPTH).clamp_min(0)
    shape = create_dct(_COEFFICIENTS, _BANDS, "ortho").T @ bands
    mean, begun = shape.mean(1), shape[:, : round(_ATTACK / _HOP) + 1].mean(1)
    return torch.cat([mean, shape.std(1, correction=0), begun - mean]) / _SCALE


@lru_cache(maxsize=4)
def _filters(sample_rate: int, size: int) -> Float[Tensor, "bins bands"]:
    highest = sample_rate / 2
    return melscale_fbanks(size // 2 + 1, min(_LOWEST, highest / 4), highest, _BANDS, sample_rate)
