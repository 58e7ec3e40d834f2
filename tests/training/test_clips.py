"""Clips in training: windows, padding, flips, what code makes, and the layout that convolutions like."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from mmdiff import recipe as recipes
from mmdiff.data import Bounce, clipfiles
from mmdiff.errors import UserError
from mmdiff.generation.model import check
from mmdiff.recipe import Recipe
from mmdiff.training.data import Positions, collate
from mmdiff.training.module import DiffusionModule
from mmdiff.training.prepare import prepare
from mmdiff.training.session import new_model

TINY = """
name: tiny
modality: video
data: {size: 8x6, frames: 4, fps: 8}
net: {size: custom, patch: 2, width: 16, mults: [1, 2], blocks: 1, attention: [1]}
conditions: {text: {kind: text, dropout: 0.3}}
training: {steps: 4, batch_size: 4, loggers: files, precision: fp32}
"""
LENGTHS = (4, 9, 2, 1, 6)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Clips of the window's length, longer, shorter, and a single frame."""
    folder, dice = tmp_path_factory.mktemp("clips"), torch.Generator().manual_seed(0)
    for i, length in enumerate(LENGTHS):
        frames = torch.randint(0, 256, (length, 1, 8, 3), dtype=torch.uint8, generator=dice)
        clipfiles.write(frames.expand(-1, 6, -1, -1), Fraction(8), folder / f"{i}.gif")
        (folder / f"{i}.txt").write_text(f"clip {i}")
    return folder


@pytest.fixture
def recipe(clips) -> Callable[..., Recipe]:
    def make(*settings: str) -> Recipe:
        path = clips.parent / "tiny.yaml"
        path.write_text(TINY)
        return recipes.load(path).override([f"data.path={clips}", *settings])

    return make


@pytest.fixture
def made(recipe, tmp_path) -> Callable[..., tuple[DiffusionModule, Positions]]:
    def make(*settings: str) -> tuple[DiffusionModule, Positions]:
        prepared = prepare(recipe(*settings), tmp_path)
        module = DiffusionModule(new_model(prepared.recipe), prepared.recipe)
        return module, Positions(prepared.source, module.model.conditions, prepared.recipe)

    return make


def positions(data: Positions) -> dict[int, int]:
    """A position that reads each of the clips, by the number in its name."""
    return {int(data.source.name(data.place(k))[0]): k for k in range(len(LENGTHS))}


def test_a_batch_is_padded_frame_by_frame_and_flipped_left_to_right(made):
    module, data = made("data.flip=true")
    where = positions(data)
    batch = collate([data[where[i]] for i in range(len(LENGTHS))], data.modalities[0].unpack)
    assert batch.x0.shape == (5, 3, 4, 6, 8)
    assert batch.valid.shape == (5, 1, 4, 6, 8)
    assert batch.valid[:, 0, :, 0, 0].sum(1).tolist() == [4, 4, 2, 4, 4]  # nothing of a picture is padding
    place = data.place(where[0])
    plain, seen = data.source[place][0], [data[k][0] for k in range(60) if data.place(k) == place]
    assert len(seen) == 12
    flips = {torch.equal(window, plain.flip(-1)) for window in seen}
    assert all(torch.equal(window, plain) or torch.equal(window, plain.flip(-1)) for window in seen)
    assert flips == {True, False}
    assert module.model.denoiser.net.first.weight.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def test_a_picture_among_clips_is_trained_frame_by_frame(made):
    module, data = made()
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)  # layers along time add nothing at birth
    where = positions(data)
    assert collate([data[where[0]]], data.modalities[0].unpack).moving is None
    batch = collate([data[where[i]] for i in (1, 3)], data.modalities[0].unpack)
    assert batch.moving.tolist() == [True, False]
    assert batch.valid is None
    assert torch.equal(batch.x0[1], batch.x0[1, :, :1].expand(-1, 4, -1, -1))
    shared = made("diffusion.shared_noise=1")[1]
    for eps in (batch.eps[1], shared[where[3]].eps):
        assert not torch.equal(eps[:, 0], eps[:, 1])

    def without(*frames):
        """The loss of each without noise in these frames."""
        eps = batch.eps.clone()
        eps[:, :, list(frames)] = 0
        module.training_step(batch._replace(eps=eps), 0)
        return module._each

    # Frames of a picture add up to its loss, those of a clip feel each other
    one, other = without(0) - without(), without(1) - without()
    apart = (without(0, 1) - without() - one - other).abs() / (one.abs() + other.abs())
    assert apart[1] < 1e-5 < 1e-4 < apart[0]


def test_frames_share_noise_when_the_recipe_says_so(made):
    noise = made("diffusion.shared_noise=1")[1][0].eps
    assert torch.equal(noise, noise[:, :1].expand_as(noise))
    assert noise.std() > 0.5


@torch.no_grad()
def test_nothing_is_learned_from_padding_nor_of_what_is_known(made):
    module, data = made("training.given=1")
    torch.nn.init.normal_(module.model.denoiser.net.last.weight)  # zero at birth, which would hide all else
    batch = collate([data[positions(data)[2]]], data.modalities[0].unpack)
    hidden = (batch.valid == 0) | batch.given
    assert 0 < int(batch.given.sum()) < 2 * 6 * 8
    other = batch._replace(eps=torch.where(hidden, 7.0, batch.eps))
    losses = [float(module.training_step(each, 0)) for each in (batch, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_bounce_needs_no_files(recipe, tmp_path):
    asked = recipe("data.source=bounce", "data.path=null", "data.length=30", "data.fps=24000/1001")
    prepared = prepare(asked, tmp_path)
    assert isinstance(prepared.source, Bounce)
    assert prepared.source[0][0].shape == (3, 4, 6, 8)
    assert prepared.summary == ("data: 30 bounce made by code, 8x6x4@24000/1001",)
    assert torch.equal(prepared.source[3][0], Bounce(0, 30, (8, 6), 4, Fraction(24000, 1001))[3][0])
    roaming = prepare(asked.override(["data.under_way=1"]), tmp_path / "roaming").source
    assert roaming.columns(3) == Bounce(0, 30, (8, 6), 4, Fraction(24000, 1001), under_way=1).columns(3)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data.fps=3000", "data.fps: got 3000 frames a second, expected a plain rate"),
        ("conditions.loud={kind: envelope}", "conditions.loud.kind: got 'envelope', which only sounds have"),
    ],
)
def test_what_clips_do_not_have_is_named(recipe, setting, says):
    with pytest.raises(UserError, match=re.escape(says)):
        check(recipe(setting))


def test_the_motion_recipe_takes_all_of_an_emoji_run_but_its_first_layer():
    """The names, the shapes and the order of the styles are what ``init`` copies by."""
    with torch.device("meta"):
        values = '["fluent-3d", "fluent-flat", "google", "noto-v1", "twitter"]'
        image = new_model(recipes.load("image/emoji").override([f"conditions.style.values={values}"]))
        motion = new_model(recipes.load("video/motion"))
    theirs, own = ({n: v.shape for n, v in model.state_dict().items()} for model in (image, motion))
    assert theirs.keys() <= own.keys()
    assert [name for name in theirs if theirs[name] != own[name]] == ["denoiser.net.first.weight"]
    assert all(".time_" in name for name in own.keys() - theirs.keys())
    assert json.loads(values) == list(recipes.load("video/motion").conditions["style"].values)
