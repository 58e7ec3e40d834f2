"""Runs that start from the weights of others."""

import pytest
import torch
from safetensors.torch import load_file

from mmdiff.errors import UserError
from mmdiff.run import Run
from mmdiff.training import train
from mmdiff.training.inherit import inherit
from mmdiff.training.session import new_model


@pytest.fixture
def parent(recipe, tmp_path):
    return train(recipe("training.steps=2"), run=tmp_path / "parent", quiet=True)


def values(recipe):
    return recipe('conditions.style.values=["deep","flat"]')


def test_all_weights_are_those_of_the_run(recipe, parent):
    model = new_model(values(recipe))
    line = inherit(model, str(parent))
    theirs, own = load_file(Run(parent).newest().ema), model.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert line == f"init: {len(own)} of {len(own)} tensors from {parent}, step 2"


def test_channels_that_the_run_does_not_see_are_ignored_at_first(recipe, parent):
    model = new_model(recipe("training.given=0.5", 'conditions.style.values=["deep","flat"]'))
    inherit(model, str(parent))
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


def test_what_does_not_fit_is_said(recipe, parent, tmp_path):
    with pytest.raises(UserError, match=r"denoiser.net.* is \[.*\] in .*parent, \[.*\] here"):
        inherit(new_model(recipe("net.width=32", 'conditions.style.values=["deep","flat"]')), str(parent))
    with pytest.raises(UserError, match=r"init: .* holds no whole checkpoint"):
        inherit(new_model(values(recipe)), str(tmp_path / "none"))
