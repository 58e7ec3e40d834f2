"""A checkpoint of a training run: weights, average and optimiser, restored bit for bit.

Weights and average are safetensors files; ``trainer.pt`` holds tensors and plain numbers only and is read
with ``weights_only=True``, so no checkpoint can run code.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from mmdiff import run as runs
from mmdiff.run import Checkpoint, Run
from mmdiff.training.module import DiffusionModule


def save(run: Run, module: DiffusionModule, optimizer: Optimizer, seconds: float, world: int) -> Checkpoint:
    """Writes the checkpoint of the module's step; whole or not at all.

    Args:
        run: the folder to write to.
        module: what is saved.
        optimizer: the module's.
        seconds: time spent training since the run began.
        world: how many processes train.
    """
    training, seen = module.recipe.training, module.step * module.recipe.training.batch_size
    state = {
        "optimizer": optimizer.state_dict(),
        "ema_updates": module.ema.updates,
        "losses": module.losses,
        "norms": module.norms,
    }
    meta = {
        "step": module.step,
        "samples_seen": seen,
        "world_size": world,
        "seconds": seconds,
        "versions": runs.versions(),
    }

    def write(folder: Path) -> None:
        weights = module.model.state_dict()
        _save_tensors(weights, folder / "model.safetensors")
        _save_tensors(weights | dict(module.ema.shadow), folder / "ema.safetensors")
        torch.save(state, folder / "trainer.pt")
        (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")

    return runs.commit(run, module.step, write, samples_seen=seen, keep=training.keep)


def restore(checkpoint: Checkpoint, module: DiffusionModule) -> dict[str, Any]:
    """Puts the module where it was when it was saved, and returns the meta data."""
    module.model.load_state_dict(load_file(checkpoint.model))
    state = torch.load(checkpoint.trainer, map_location="cpu", weights_only=True)
    module.ema.load(load_file(checkpoint.ema), state["ema_updates"])
    module.optimizer_state = state["optimizer"]
    module.losses, module.norms = state["losses"], state["norms"]
    meta: dict[str, Any] = json.loads(checkpoint.meta.read_text())
    module.step = meta["step"]
    return meta


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """The format wants each tensor in storage of its own, channels not last."""
    own = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    save_file(own, path)
