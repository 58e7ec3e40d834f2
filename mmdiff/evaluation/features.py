"""What a network trained on sound effects hears, when the package aisfx is installed.

The network is that of Ma and Lerch (2022, "Representation learning for the automatic indexing of sound
effects libraries", ISMIR): 512 numbers for about two seconds. Only its layers and weights are used. The
package asks for NumPy 1.23 and librosa 0.9.2 for an interface that is not needed here, so it cannot be an
extra of this project; `pip install --no-deps aisfx` is enough.
"""

import math
from functools import lru_cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from mmdiff.errors import UserError
from mmdiff.metrics.logmel import mel_bands
from mmdiff.modalities.audio.mixing import resampled

RATE, SIZE, HOP, BANDS = 44_100, 2048, 1024, 96  # of the spectrograms that it was trained on
_FRAMES, _STEP = 100, 50  # of a block, and between two
_LARGEST = 9.457798957824707  # of all its training spectrograms, which it scales by it
_WIDTH = 64  # channels of its first layers


def require() -> Path:
    """The folder of the package. Raises UserError when it is not installed."""
    found = PathFinder.find_spec("aisfx")
    if found is None or found.origin is None:
        raise UserError("--embeddings: no package aisfx: pip install --no-deps aisfx")
    return Path(found.origin).parent


@torch.no_grad()
def embedded(waves: Float[Tensor, "b s"], sample_rate: int) -> Float[Tensor, "b 512"]:
    """The mean embedding of the blocks of each sound, whatever its level. Raises UserError: no package."""
    net = _network()
    return torch.stack([net(blocks(wave, sample_rate)).mean(0) for wave in waves])


def blocks(wave: Float[Tensor, " s"], sample_rate: int) -> Float[Tensor, "n 100 96"]:
    """What the network is shown of a sound: log mel spectrograms that overlap by half, zeros at the end."""
    wave = resampled(wave[None], sample_rate, RATE)[0]
    wave = wave / wave.abs().max().clamp_min(1e-12)
    window = torch.hann_window(SIZE)
    spectrum = torch.stft(wave, SIZE, HOP, window=window, pad_mode="constant", return_complex=True)
    filters = mel_bands(RATE, SIZE, BANDS)
    power = (filters / filters.sum(0).clamp_min(1e-12)).T @ spectrum.abs().square()
    frames = (1 + 10_000 * power).log10().T / _LARGEST
    steps = max(math.ceil((len(frames) - _FRAMES) / _STEP), 0)
    return pad(frames, (0, 0, 0, _FRAMES + steps * _STEP - len(frames))).unfold(0, _FRAMES, _STEP).mT


@lru_cache(maxsize=1)
def _network() -> nn.Module:
    folder = require()
    spec = spec_from_file_location("aisfx_cnn2d", folder / "models" / "cnn2d.py")
    assert spec is not None
    assert spec.loader is not None
    code = module_from_spec(spec)
    spec.loader.exec_module(code)
    net: nn.Module = code.EmbeddingNet("max", 3, 1, _WIDTH)
    kinds = [type(np.dtype(kind)) for kind in (np.int64, np.float64, np.int32)]
    scalar = import_module("numpy._core.multiarray").scalar  # the counts of its classes are of NumPy
    named = [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds]
    with torch.serialization.safe_globals(named):
        weights, _ = torch.load(folder / "models" / "checkpoint.pth", map_location="cpu", weights_only=True)
    own = "embedding_net."
    net.load_state_dict({k.removeprefix(own): v for k, v in weights.items() if k.startswith(own)})
    return net.eval().requires_grad_(False)
