"""Starting from the weights of another run: fine-tuning, and clips that are born from pictures."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmdiff.conditions.encoded import FINGERPRINT
from mmdiff.errors import UserError
from mmdiff.generation.model import Model, beside_of
from mmdiff.recipe import Recipe
from mmdiff.run import Run

_NET = "denoiser.net."


def inherit(model: Model, recipe: Recipe) -> str:
    """Gives a new model the averaged weights of the run ``recipe.init`` where both have them.

    What only the new model has, such as layers along time or a condition, stays as it was born. Channels that
    its first layer sees beside those of the run are ignored at first.

    Args:
        recipe: of the new model, the values of labels filled in.

    Returns:
        A line about it.

    Raises:
        UserError: no such run or checkpoint, a weight of another shape, or weights that mean something else.
    """
    origin = str(recipe.init)
    newest = Run(Path(origin)).newest()
    if newest is None:
        raise UserError(f"init: {origin} holds no whole checkpoint; expected a run that was trained")
    theirs, own = load_file(newest.ema), model.state_dict()
    if not any(name.startswith(_NET) for name in own.keys() & theirs.keys()):
        raise UserError(
            f"init: {origin} has no weight that this model has; expected a run of the same kind of net"
        )
    before = Run(Path(origin)).recipe()
    _refuse_other(recipe, before, origin)
    own_channels = list(map(str, range(model.modality.shape[0])))
    seen = own_channels + beside_of(before), own_channels + beside_of(recipe)
    shared = {
        name: _fitted(name, theirs[name], own[name], seen, origin) for name in own.keys() & theirs.keys()
    }
    for name in shared:
        if name.endswith(f".{FINGERPRINT}") and not torch.equal(shared[name], own[name]):
            said = name.removeprefix("conditions.parts.").removesuffix(f".{FINGERPRINT}")
            raise UserError(f"init: conditions.{said}.encoder: {origin} was trained with other files of it")
    with torch.no_grad():
        for name, value in shared.items():
            own[name].copy_(value)
    return f"init: {len(shared)} of {len(own)} tensors from {origin}, step {newest.step}"


def _refuse_other(recipe: Recipe, before: Recipe, origin: str) -> None:
    """Raises UserError where the same weights would mean something else than in the run."""
    names = recipe.conditions.keys() & before.conditions.keys()
    theirs = _meanings(before, names)
    for key, value in _meanings(recipe, names).items():
        if value != theirs[key]:
            raise UserError(f"init: {key} is {theirs[key]!r} in {origin}, {value!r} here; expected the same")


def _meanings(recipe: Recipe, names: Collection[str]) -> dict[str, Any]:
    """What decides the meaning of weights beside their shape, by its key; ``names`` are of conditions."""
    found = {f"diffusion.{key}": getattr(recipe.diffusion, key) for key in ("target", "sigma_data")}
    for name in sorted(names):
        for key in ("kind", "encoder", "values", "low", "high"):
            found[f"conditions.{name}.{key}"] = getattr(recipe.conditions[name], key)
    return found


def _fitted(name: str, value: Tensor, like: Tensor, seen: tuple[list[str], list[str]], origin: str) -> Tensor:
    """A weight in the shape of the new model's: zeros for input channels that the run does not have.

    ``seen`` are the channels that the run sees, and those that the new model does.
    """
    before, now = seen
    cells = like.shape[1] // len(now) if name == f"{_NET}first.weight" else 0
    if not cells and value.shape == like.shape:
        return value
    wanted = (len(like), cells * len(before), *like.shape[2:])
    if not cells or value.shape != wanted or not set(before) <= set(now):
        raise UserError(
            f"init: {name} is {list(value.shape)} in {origin}, {list(like.shape)} here; "
            "expected the same net, conditions and labels"
        )
    parts = dict(zip(before, value.split(cells, 1), strict=True))
    zeros = torch.zeros_like(like[:, :cells])
    return torch.cat([parts.get(channel, zeros) for channel in now], 1)
