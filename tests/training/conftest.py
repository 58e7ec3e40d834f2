"""A tiny folder of pictures and a tiny recipe, trained in well under a second a step."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmdiff import recipe as recipes
from mmdiff.recipe import Recipe

TINY = """
name: tiny
modality: image
data: {size: 8x8, flip: true, alternatives: tags, alternative_share: 0.5}
net: {size: custom, patch: 2, width: 16, mults: [1, 2], blocks: 1, attention: [1]}
conditions:
  style: {kind: label, dropout: 0.3}
training: {steps: 8, batch_size: 4, warmup: 2, log_every: 1, checkpoint_every: 100, sample_every: 100,
  loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Eleven pictures of two styles, each with a caption and tags."""
    folder = tmp_path_factory.mktemp("pictures")
    rng, rows = np.random.default_rng(0), []
    for i in range(11):
        corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(corners).resize((8, 8)).save(folder / f"{i}.png")
        style = ("flat", "deep")[i % 2]
        rows.append(
            {"file_name": f"{i}.png", "text": f"thing {i}", "tags": [f"tag {i}", "any"], "style": style}
        )
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """Nine captioned pictures, by turns as wide as high, twice as wide, and half as wide."""
    folder, rng = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    for i in range(9):
        height, width = ((10, 10), (8, 16), (20, 10))[i % 3]
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"thing {i}")
    return folder


@pytest.fixture
def recipe(pictures) -> Callable[..., Recipe]:
    """The tiny recipe with settings: ``recipe("training.steps=3")``.

    It has no text condition, whose table alone would make every checkpoint of a test 50 MB.
    """

    def make(*settings: str) -> Recipe:
        path = pictures.parent / "tiny.yaml"
        path.write_text(TINY)
        return recipes.load(path).override([f"data.path={pictures}", *settings])

    return make
