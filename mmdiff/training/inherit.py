"""Starting from the weights of another run: fine-tuning, and clips that are born from pictures."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mmdiff.errors import UserError
from mmdiff.generation.model import Model
from mmdiff.run import Run

_NET = "denoiser.net."


def inherit(model: Model, origin: str) -> str:
    """Gives a new model the averaged weights of a run where both have them; returns a line about it.

    What only the new model has, such as layers along time or a condition, stays as it was born. Channels that
    its first layer sees beside those of the run are ignored at first. Labels must have the same values.

    Raises:
        UserError: no such run or checkpoint, or a weight of another shape.
    """
    newest = Run(Path(origin)).newest()
    if newest is None:
        raise UserError(f"init: {origin} holds no whole checkpoint; expected a run that was trained")
    theirs, own = load_file(newest.ema), model.state_dict()
    if not any(name.startswith(_NET) for name in own.keys() & theirs.keys()):
        raise UserError(
            f"init: {origin} has no weight that this model has; expected a run of the same kind of net"
        )
    shared = {name: _fitted(name, theirs[name], own[name], origin) for name in own.keys() & theirs.keys()}
    with torch.no_grad():
        for name, value in shared.items():
            own[name].copy_(value)
    return f"init: {len(shared)} of {len(own)} tensors from {origin}, step {newest.step}"


def _fitted(name: str, value: Tensor, like: Tensor, origin: str) -> Tensor:
    """A weight in the shape of the new model's: zeros for input channels that the run does not have."""
    if value.shape == like.shape:
        return value
    alike = len(value) == len(like) and value.shape[2:] == like.shape[2:]
    if name != f"{_NET}first.weight" or not (alike and value.shape[1] < like.shape[1]):
        raise UserError(
            f"init: {name} is {list(value.shape)} in {origin}, {list(like.shape)} here; "
            "expected the same net, conditions and labels"
        )
    return F.pad(value, [0, 0] * (value.ndim - 2) + [0, like.shape[1] - value.shape[1]])
