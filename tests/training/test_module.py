"""One step: learning rate, guard against nan, gradients for all, learning."""

import dataclasses
import json
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer
from safetensors.torch import load_file

from mmdiff.recipe import Training
from mmdiff.run import Run
from mmdiff.training import train
from mmdiff.training.data import DataModule, Positions, collate
from mmdiff.training.loggers import read_rows
from mmdiff.training.module import DiffusionModule, NonFinite, learning_rate, levels
from mmdiff.training.prepare import prepare
from mmdiff.training.progress import calm_lightning
from mmdiff.training.session import new_model


@given(st.integers(1, 500), st.integers(0, 100), st.floats(0, 1))
def test_learning_rate_rises_stays_and_falls(total, warmup, decay):
    training = Training(steps=total, warmup=warmup, decay=decay, learning_rate=2.0)
    rates = [learning_rate(step, training) for step in range(total)]
    assert all(0 < rate <= 2.0 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_learning_rate_by_hand():
    training = Training(steps=10, warmup=2, decay=0.5, learning_rate=1.0)
    expected = [0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert [learning_rate(step, training) for step in range(10)] == pytest.approx(expected)


@pytest.fixture
def made(recipe, tmp_path):
    prepared = prepare(recipe("conditions.text.kind=text"), tmp_path)
    module = DiffusionModule(new_model(prepared.recipe), prepared.recipe)
    return module, Positions(prepared.source, module.model.conditions, prepared.recipe)


def test_initial_weights_are_a_function_of_the_seed_and_leave_the_generator_alone(made):
    module, _ = made
    state = torch.get_rng_state()
    again = new_model(module.recipe)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(module.model.parameters(), again.parameters(), strict=True))


def test_levels_of_a_batch_cover_all_noise_evenly(made):
    module, _ = made
    level = levels(module.model, 0, torch.arange(1000, 1064))
    # u is recovered from rectified flow's t = sigma through the density's own quantiles
    quantiles = torch.special.ndtr(torch.logit(level.sigma)).sort().values
    expected = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    assert float((quantiles - expected).abs().max()) < 2.5 / 64


def test_every_parameter_gets_a_gradient_even_when_all_conditions_are_withheld(made):
    module, data = made
    batch = collate([data[k] for k in range(4)], lambda packed: packed.float() / 127.5 - 1)
    nowhere = {name: torch.zeros_like(present) for name, present in batch.present.items()}
    module.training_step(batch._replace(present=nowhere), 0).backward()
    assert [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None] == []


def test_muon_moves_the_layers_of_the_net_and_adamw_all_that_is_left(made):
    module, _ = made
    names = {parameter: name for name, parameter in module.model.named_parameters()}
    ends = {"denoiser.net.first.weight", "denoiser.net.last.weight"}
    training = dataclasses.replace(module.recipe.training, optimizer="muon")
    other = DiffusionModule(module.model, dataclasses.replace(module.recipe, training=training))
    rest, turned = ({names[p] for p in g["params"]} for g in other.configure_optimizers().param_groups)
    assert rest | turned == set(names.values())
    assert not rest & turned
    assert turned | ends == {
        name for name in names.values() if re.fullmatch(r"denoiser\.net\..*weight", name)
    }
    assert not turned & ends
    (group,) = module.configure_optimizers().param_groups
    assert {names[p] for p in group["params"]} == set(names.values())


@torch.no_grad()
def test_loss_is_a_float32_mean_of_the_samples(made):
    module, data = made
    parts = [data[k] for k in range(4)]
    unpack = lambda packed: packed.float() / 127.5 - 1
    whole = module.training_step(collate(parts, unpack), 0)
    each = [module.training_step(collate([part], unpack), 0) for part in parts]
    assert whole.dtype == torch.float32
    assert float(whole) == pytest.approx(sum(map(float, each)) / 4, rel=1e-5)


def poison(monkeypatch, step):
    """Makes one sample's loss nan at a step."""
    original = DiffusionModule.training_step

    def hook(self, batch, index):
        loss = original(self, batch, index)
        if self.step == step:
            self._each[1] = math.nan
            return loss * math.nan
        return loss

    monkeypatch.setattr(DiffusionModule, "training_step", hook)


def test_nan_stops_before_the_update_and_is_reported(recipe, tmp_path, monkeypatch):
    asked = recipe("training.checkpoint_every=2")
    poison(monkeypatch, step=5)
    with pytest.raises(
        NonFinite, match=r"step 5: loss nan.*the checkpoint of step 4 is safe.*nan_report\.json"
    ):
        train(asked, run=tmp_path / "run", quiet=True)
    run = Run(tmp_path / "run")
    assert [row["step"] for row in read_rows(run)] == [1, 2, 3, 4, 5]
    for file in (run.newest().model, run.newest().ema):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(file).values())
    report = json.loads((run.path / "nan_report.json").read_text())
    assert report["step"] == 5
    assert report["positions"] == [20, 21, 22, 23]
    assert len(report["rho"]) == len(report["samples"]) == 4
    assert [i for i, loss in enumerate(report["losses"]) if loss == "nan"] == [1]
    assert report["parameters"]


def test_nan_leaves_weights_average_and_optimizer_as_they_were(made, monkeypatch):
    module, data = made
    poison(monkeypatch, step=3)
    seen = {}
    refuse = DiffusionModule._refusal

    def remember(self, loss, norm):
        seen["weights"] = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        seen["average"] = {name: p.clone() for name, p in self.ema.shadow.items()}
        return refuse(self, loss, norm)

    monkeypatch.setattr(DiffusionModule, "_refusal", remember)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=8,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    unpack = lambda packed: packed.float() / 127.5 - 1
    with calm_lightning(), pytest.raises(NonFinite):
        trainer.fit(module, datamodule=DataModule(data, unpack, 0))
    assert module.step == module.ema.updates == 3
    assert all(torch.equal(p, seen["weights"][name]) for name, p in module.model.named_parameters())
    assert all(torch.equal(p, seen["average"][name]) for name, p in module.ema.shadow.items())
    assert all(bool(p.isfinite().all()) for p in module.model.parameters())


def test_how_large_the_loss_is_at_a_level_is_learned(recipe, tmp_path):
    """Trained in other units, and logged in the same."""
    settings = ("training.steps=6", "training.learning_rate=0.05", "training.warmup=1")
    plain = train(recipe(*settings), run=tmp_path / "plain")
    learned = train(recipe(*settings, "diffusion.uncertainty=true"), run=tmp_path / "learned")
    first, second = (read_rows(Run(path)) for path in (plain, learned))
    assert first[0]["loss"] == pytest.approx(second[0]["loss"], rel=1e-6)
    assert first[-1]["loss"] != second[-1]["loss"]
    assert all(row["loss"] > 0 for row in second)
    series = load_file(Run(learned).newest().model)["uncertainty.series"]
    assert series.abs().min() > 1e-3
    assert "uncertainty.series" not in load_file(Run(plain).newest().model)


def test_training_learns_one_batch(recipe, tmp_path):
    settings = [
        "training.steps=120",
        "training.learning_rate=0.01",
        "data.flip=false",
        "training.log_every=10",
    ]
    train(recipe(*settings, "training.batch_size=11"), run=tmp_path / "run", quiet=True)
    rows = read_rows(Run(tmp_path / "run"))
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
