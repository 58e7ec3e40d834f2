"""Runs that start from the weights of others."""

import re

import pytest
import torch
from safetensors.torch import load_file

from mmdiff import recipe as recipes
from mmdiff.errors import UserError
from mmdiff.run import Run
from mmdiff.training import train
from mmdiff.training.inherit import inherit
from mmdiff.training.session import new_model


@pytest.fixture
def parent(recipe, tmp_path):
    return train(recipe("training.steps=2"), run=tmp_path / "parent", quiet=True)


def values(recipe, origin, *settings):
    return recipe('conditions.style.values=["deep","flat"]', f"init={origin}", *settings)


def test_all_weights_are_those_of_the_run(recipe, parent):
    asked = values(recipe, parent)
    model = new_model(asked)
    line = inherit(model, asked)
    theirs, own = load_file(Run(parent).newest().ema), model.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert line == f"init: {len(own)} of {len(own)} tensors from {parent}, step 2"


def test_channels_that_the_run_does_not_see_are_ignored_at_first(recipe, parent):
    asked = values(recipe, parent, "training.given=0.5")
    model = new_model(asked)
    inherit(model, asked)
    before = load_file(Run(parent).newest().ema)["denoiser.net.first.weight"]
    first = model.denoiser.net.first.weight
    assert first.shape[1] == before.shape[1] + 4
    assert torch.equal(first[:, : before.shape[1]], before)
    assert not first[:, before.shape[1] :].any()


def test_a_run_begins_there_and_resumes_itself(recipe, parent, tmp_path, capsys):
    child = recipe(f"init={parent}", "training.steps=1", "training.learning_rate=1e-30")
    run = train(child, run=tmp_path / "child")
    assert "init: " in capsys.readouterr().err
    theirs, own = (load_file(Run(r).newest().ema) for r in (parent, run))
    assert all(torch.allclose(own[name], theirs[name], atol=1e-6) for name in own)
    train(recipe(f"init={parent}", "training.steps=3", "training.learning_rate=1e-30"), run=run)
    assert "init: " not in capsys.readouterr().err


def test_a_wrong_name_can_be_put_right_in_the_same_folder(recipe, parent, tmp_path):
    with pytest.raises(UserError, match=r"init: .*typo holds no whole checkpoint"):
        train(recipe(f"init={tmp_path / 'typo'}", "training.steps=1"), run=tmp_path / "child", quiet=True)
    run = train(recipe(f"init={parent}", "training.steps=1"), run=tmp_path / "child", quiet=True)
    assert Run(run).recipe().init == str(parent)
    with pytest.raises(UserError, match="holds a run with init"):
        train(recipe("init=other", "training.steps=2"), run=run, quiet=True)


def test_what_does_not_fit_is_said(recipe, parent, tmp_path):
    with pytest.raises(UserError, match=r"denoiser.net.* is \[.*\] in .*parent, \[.*\] here"):
        inherit(new_model(asked := values(recipe, parent, "net.width=32")), asked)
    with pytest.raises(UserError, match=r"init: .* holds no whole checkpoint"):
        inherit(new_model(asked := values(recipe, tmp_path / "none")), asked)


@pytest.mark.parametrize(
    ("setting", "key", "there"),
    [
        ("diffusion.sigma_data=0.7", "diffusion.sigma_data", "0.5"),
        ("diffusion.target=v", "diffusion.target", "'flow'"),
        ('conditions.style.values=["flat","deep"]', "conditions.style.values", "('deep', 'flat')"),
    ],
)
def test_weights_that_would_mean_something_else_are_refused(recipe, parent, setting, key, there):
    asked = values(recipe, parent, setting)
    with pytest.raises(UserError, match=re.escape(f"init: {key} is {there} in {parent}")):
        inherit(new_model(asked), asked)


def test_channels_beside_a_sound_keep_their_meaning(tmp_path):
    """Where the first one is new, which says what is given, those of a curve come after it."""
    recipe = recipes.load("audio/tones").override(
        [
            *(
                "data.length=4",
                "data.sample_rate=2000",
                "data.seconds=0.1",
                "data.representation=mdct(bins=8)",
            ),
            *("net.width=16", "training.steps=1", "training.batch_size=2", "training.precision=fp32"),
            *("conditions={loud: {kind: envelope}, soft: {kind: envelope}}", "training.loggers=files"),
        ]
    )
    parent = train(recipe, run=tmp_path / "parent", quiet=True)
    asked = recipe.override([f"init={parent}", "training.given=0.5"])
    model = new_model(asked)
    inherit(model, asked)
    before = load_file(Run(parent).newest().ema)["denoiser.net.first.weight"]
    first = model.denoiser.net.first.weight
    assert (before.shape[1], first.shape[1]) == (8 + 4, 8 + 5)
    assert torch.equal(torch.cat([first[:, :8], first[:, 9:]], 1), before)
    assert not first[:, 8].any()
