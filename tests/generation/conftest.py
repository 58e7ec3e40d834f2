"""A small model with every part of a real one, and run folders that hold it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmdiff import run as runs
from mmdiff.generation.model import Model, build
from mmdiff.recipe import ConditionSpec, Data, Net, Recipe, Sampling, Training

RECIPE = Recipe(
    name="little",
    modality="image",
    data=Data(size="16x16"),
    net=Net(size="tiny"),
    conditions={
        "text": ConditionSpec(kind="text", tokens=4),
        "style": ConditionSpec(kind="label", values=("google", "apple")),
    },
    training=Training(steps=1, precision="fp32"),
    sampling=Sampling(steps=4, guidance=2.0),
)


def lively(model: Model, seed: int = 0) -> Model:
    """Gives every weight a random value: a network at birth is zero, which hides what is wrong with it."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            fan = weight[0].numel() if weight.ndim > 1 else 16
            weight.copy_(torch.randn(weight.shape, generator=dice) * fan**-0.5)
    return model.eval().requires_grad_(False)


def save(model: Model, folder: Path, step: int = 1, recipe: Recipe = RECIPE) -> Path:
    """Commits a checkpoint whose live weights differ from the average."""
    run = runs.create(folder, recipe)
    weights = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in model.state_dict().items()
    }

    def write(part: Path) -> None:
        save_file(weights, part / "ema.safetensors")
        save_file({name: value * 1.01 for name, value in weights.items()}, part / "model.safetensors")

    runs.commit(run, step, write, samples_seen=step, keep=3)
    return folder


@pytest.fixture(scope="session")
def model() -> Model:
    return lively(build(RECIPE))


@pytest.fixture(scope="session")
def run(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(model, tmp_path_factory.mktemp("runs") / "little")


@pytest.fixture
def new_run(model: Model, tmp_path: Path) -> Callable[..., Path]:
    """Makes further run folders: ``new_run(step=2)``."""
    return lambda step=1, name="run": save(model, tmp_path / name, step)
