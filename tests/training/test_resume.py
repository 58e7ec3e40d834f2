"""Typing the same command again: a run that was stopped ends bit for bit like one that never was."""

import json
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from mmdiff.errors import UserError
from mmdiff.run import DamagedCheckpoint, Run
from mmdiff.training import train
from mmdiff.training.keeper import Keeper
from mmdiff.training.loggers import read_rows

STEPS = 8


def equal(a, b):
    """Whether two states are the same bit for bit, tensors at any depth."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def assert_same_end(one, two, step=STEPS):
    a, b = (Run(path).checkpoint(f"step-{step:08d}") for path in (one, two))
    assert equal(load_file(a.model), load_file(b.model))
    assert equal(load_file(a.ema), load_file(b.ema))
    assert equal(*(torch.load(c.trainer, weights_only=True) for c in (a, b)))
    assert losses(one) == losses(two)


def losses(path):
    return [(row["step"], row["samples_seen"], row["loss"], row["grad_norm"]) for row in read_rows(Run(path))]


@pytest.fixture
def signal_after(monkeypatch):
    """Sends this process a signal while it takes the given step.

    A process that a shell put in the background ignores SIGINT, so here it is as in the foreground.
    """
    original, before = Keeper.on_train_batch_end, signal.signal(signal.SIGINT, signal.default_int_handler)

    def arrange(step, signum=signal.SIGTERM):
        def hook(self, trainer, module, *rest):
            if module.step == step - 1 and module.stopping == 0:
                os.kill(os.getpid(), signum)
            original(self, trainer, module, *rest)

        monkeypatch.setattr(Keeper, "on_train_batch_end", hook if step else original)

    yield arrange
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Whole runs by their settings, each trained once."""
    known = {}

    def get(recipe, *settings):
        if settings not in known:
            path = tmp_path_factory.mktemp("whole") / "run"
            known[settings] = train(recipe(*settings), run=path, quiet=True)
        return known[settings]

    return get


@pytest.mark.parametrize(("stop", "workers"), [(2, 0), (5, 0), (7, 0), (3, 2)])
def test_stopped_and_resumed_equals_whole(recipe, reference, signal_after, tmp_path, stop, workers):
    signal_after(stop)
    asked = recipe(f"data.workers={workers}")
    with pytest.raises(SystemExit) as end:
        train(asked, run=tmp_path / "run", quiet=True)
    assert end.value.code == 143
    assert Run(tmp_path / "run").latest.read_text().strip() == f"step-{stop:08d}"
    assert losses(tmp_path / "run")[-1][0] == stop
    signal_after(0)
    train(asked, run=tmp_path / "run", quiet=True)
    assert_same_end(reference(recipe), tmp_path / "run")


@pytest.mark.parametrize(
    "settings",
    [
        ["training.log_every=3"],
        ["training.precision=bf16"],
        ["training.optimizer=muon"],
        ["training.optimizer=muon", "training.precision=bf16"],
    ],
)
def test_interval_means_precision_and_optimiser_resume_too(
    recipe, reference, signal_after, tmp_path, settings
):
    signal_after(4)
    with pytest.raises(SystemExit):
        train(recipe(*settings), run=tmp_path / "run", quiet=True)
    signal_after(0)
    train(recipe(*settings), run=tmp_path / "run", quiet=True)
    assert_same_end(reference(recipe, *settings), tmp_path / "run")


@pytest.mark.parametrize("held", [[], ["data.hold_out=text/4"]])
def test_batches_of_several_sizes_resume_too(recipe, shapes, signal_after, tmp_path, held):
    settings = [f"data.path={shapes}", "data.sizes=[16x8, 8x16]", "data.alternative_share=0", *held]
    asked = recipe(*settings).override(["conditions={text: {kind: text}}"])
    train(asked, run=tmp_path / "whole", quiet=True)
    signal_after(3)
    with pytest.raises(SystemExit):
        train(asked, run=tmp_path / "run", quiet=True)
    signal_after(0)
    train(asked, run=tmp_path / "run", quiet=True)
    assert_same_end(tmp_path / "whole", tmp_path / "run")


def test_logged_loss_is_the_mean_over_the_interval(recipe, reference):
    each = [row[2] for row in losses(reference(recipe))]
    means = [(row[0], row[2]) for row in losses(reference(recipe, "training.log_every=3"))]
    assert means == [
        (3, pytest.approx(sum(each[:3]) / 3)),
        (6, pytest.approx(sum(each[3:6]) / 3)),
        (8, pytest.approx(sum(each[6:]) / 2)),
    ]


def test_interrupt_saves_and_leaves_with_130(recipe, signal_after, tmp_path):
    signal_after(3, signal.SIGINT)
    with pytest.raises(SystemExit) as end:
        train(recipe(), run=tmp_path / "run", quiet=True)
    assert end.value.code == 130
    assert Run(tmp_path / "run").newest().step == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_finished_run_says_so_and_changes_nothing(recipe, reference, capsys):
    path = reference(recipe)
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    assert train(recipe(), run=path) == path
    assert "finished, 8 of 8 steps" in capsys.readouterr().err
    assert before == {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}


def test_more_steps_go_on_from_the_end(recipe, tmp_path):
    train(recipe("training.steps=4", "training.decay=0"), run=tmp_path / "a", quiet=True)
    train(recipe("training.steps=6", "training.decay=0"), run=tmp_path / "a", quiet=True)
    train(recipe("training.steps=6", "training.decay=0"), run=tmp_path / "b", quiet=True)
    assert_same_end(tmp_path / "a", tmp_path / "b", step=6)


def test_a_damaged_checkpoint_is_passed_over_and_trained_again(recipe, reference, tmp_path):
    settings = ["training.checkpoint_every=3"]
    train(recipe(*settings, "training.steps=6", "training.decay=0"), run=tmp_path / "a", quiet=True)
    train(recipe(*settings, "training.steps=6", "training.decay=0"), run=tmp_path / "b", quiet=True)
    weights = Run(tmp_path / "a").checkpoint("step-00000006").model
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.warns(DamagedCheckpoint, match=r"step-00000006.*model.safetensors"):
        train(recipe(*settings, "training.steps=6", "training.decay=0"), run=tmp_path / "a", quiet=True)
    assert_same_end(tmp_path / "a", tmp_path / "b", step=6)


def test_another_recipe_is_refused_in_the_same_folder(recipe, reference):
    with pytest.raises(UserError, match=r"training\.learning_rate"):
        train(recipe("training.learning_rate=0.5"), run=reference(recipe), quiet=True)


def test_a_batch_that_does_not_divide_is_refused(recipe, tmp_path):
    with pytest.raises(UserError, match=r"training\.batch_size: got 4 for 3 devices"):
        train(recipe(), run=tmp_path / "run", devices=3, quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_run_folder_is_complete_and_holds_no_pickle_that_sampling_needs(recipe, reference):
    path = reference(recipe)
    there = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    checkpoint = f"checkpoints/step-{STEPS:08d}/"
    parts = ("model.safetensors", "ema.safetensors", "trainer.pt", "meta.json", "manifest.json")
    assert {checkpoint + part for part in parts} <= there
    assert {"recipe.yaml", "latest", "metrics.jsonl", "metrics.csv", "index.html", "data.json"} <= there
    assert f"samples/step-{STEPS:08d}/grid.png" in there
    meta = json.loads((path / checkpoint / "meta.json").read_text())
    assert (meta["step"], meta["samples_seen"], meta["world_size"]) == (STEPS, 4 * STEPS, 1)
    assert not any(".tmp." in name for name in there)
