"""Conditions that are files or curves: a style that is lent, an envelope that is followed."""

import dataclasses
import json

import PIL.Image
import pytest
import torch

from mmdiff.data import soundfiles, tones
from mmdiff.diffusion.guidance import guide
from mmdiff.errors import UserError
from mmdiff.generation.asked import ask
from mmdiff.generation.engine import Engine
from mmdiff.generation.model import Model, build
from mmdiff.generation.pipeline import Pipeline, load, regenerate
from mmdiff.generation.provenance import Origin
from mmdiff.generation.request import Request
from mmdiff.recipe import ConditionSpec, Data, Net, Recipe, Sampling, Training
from tests.generation.conftest import lively, save

RECIPE = Recipe(
    name="sounds",
    modality="audio",
    data=Data(sample_rate=2000, seconds=0.4, representation="mdct(bins=16)"),
    net=Net(size="custom", patch=1, width=16, mults=(1, 2), blocks=1, attention=(1,)),
    conditions={
        "like": ConditionSpec(kind="style"),
        "envelope": ConditionSpec(kind="envelope"),
        "pitch": ConditionSpec(kind="number", low=40, high=90),
    },
    training=Training(steps=1, precision="fp32", given=0.5),
    sampling=Sampling(steps=3, guidance=2.0),
)


@pytest.fixture(scope="module")
def model() -> Model:
    return lively(build(RECIPE))


@pytest.fixture(scope="module")
def pipeline(model) -> Pipeline:
    return Pipeline(model, RECIPE, Origin("run", "sounds", "0", "ema", 1))


@pytest.fixture
def bell(tmp_path):
    path = tmp_path / "bell.wav"
    soundfiles.write(tones.tone(0, 3, 2000, 0.5)[0], 2000, path)
    return path


def test_values_become_what_the_network_takes(model, bell):
    words = {"like": str(bell), "envelope": "0:0, 0.1:1, 0.4:0.5", "pitch": "60"}
    asked = ask(words, RECIPE.conditions, model, model.modality)
    assert asked.raw["pitch"] == "60"
    assert asked.raw["like"].shape == (model.modality.styles,)
    frames = model.modality.shape[1]
    assert asked.curves.shape == (2, frames)
    assert asked.curves[1].tolist() == [1.0] * frames
    times = 0.008 * torch.arange(frames)
    expected = torch.where(times < 0.1, times / 0.1, 1 - 0.5 * (times - 0.1) / 0.3).clamp(0.5 * (times > 0.1))
    torch.testing.assert_close(asked.curves[0], expected, atol=1e-5, rtol=0)
    assert set(asked.sha256) == {"like"}
    longer = ",".join(f"{0.01 * i:.2f}:{i % 2}" for i in range(60))  # no file can be called so
    assert ask({"envelope": longer}, RECIPE.conditions, model, model.modality).curves[0].max() > 0.7


def test_an_envelope_can_be_taken_from_a_file(model, bell):
    asked = ask({"envelope": str(bell)}, RECIPE.conditions, model, model.modality)
    packed = model.modality.pack(model.modality.read(bell.read_bytes(), "bell"))
    torch.testing.assert_close(asked.curves[:1], model.modality.envelope(packed[:, :800]))
    assert not asked.raw
    assert not asked.nothing


def test_each_changes_the_sound_and_longer_ones_follow_too(pipeline, bell):
    words = [{}, {"like": str(bell)}, {"envelope": "0:1"}, {"envelope": "0:0.5"}, {"pitch": "50"}]
    made = [next(pipeline.sample(size="0.6s", **w)).sample.value for w in words]
    assert all(wave.shape == (1, 1200) for wave in made)
    assert len({wave.numpy().tobytes() for wave in made}) == len(words)


@pytest.mark.parametrize(
    "guidance", [guide(1.0), guide(2.0, each=(("envelope", 3.0),)), guide(1.0, each=(("pitch", 2.0),))]
)
def test_a_sound_with_curves_is_the_same_beside_one_without(model, guidance):
    program, frames = model.program(RECIPE.sampling), model.modality.shape[1]
    curves = torch.rand(2, frames)
    one = Request(model.modality.shape, program, guidance, raw={"pitch": "60"}, curves=curves)
    plain = dataclasses.replace(one, curves=None, seed=3, guidance=guide(3.0))
    alone = {r: next(iter(Engine(model).run([r]))).x0 for r in (one, plain)}
    together = {f.request: f.x0 for f in Engine(model).run([plain, one])}
    assert all(torch.equal(alone[r], together[r]) for r in alone)


def test_guidance_pulls_away_from_what_has_no_curve(model, pipeline):
    """The branch without condition sees no envelope, so guidance strengthens it."""
    (condition,) = told(model, lambda: list(pipeline.sample(envelope="0:1", guidance=3.0, steps=1)))
    assert condition.beside[0, 1:].eq(1).all()
    assert condition.beside[1].eq(0).all()


def test_a_condition_of_its_own_weight_is_compared_with_all_others(model, pipeline):
    words = {"envelope": "0:1", "pitch": "60", "guidance": 1.0, "steps": 1}
    for name, sees_curve, sees_pitch in (("pitch", True, False), ("envelope", False, True)):
        (condition,) = told(model, lambda by={name: 2.0}: list(pipeline.sample(**words, guidance_by=by)))
        assert bool(condition.beside[1].any()) is sees_curve
        assert torch.equal(condition.vector[1], condition.vector[0]) is sees_pitch


def test_of_two_curves_each_is_left_out_by_its_own_name():
    specs = {name: ConditionSpec(kind="envelope") for name in ("loud", "soft")}
    recipe = dataclasses.replace(RECIPE, conditions=specs)
    model = lively(build(recipe))
    pipeline = Pipeline(model, recipe, Origin("run", "sounds", "0", "ema", 1))
    words = {"loud": "0:0.5", "soft": "0:1", "guidance": 1.0, "guidance_by": {"soft": 2.0}, "steps": 1}
    (condition,) = told(model, lambda: list(pipeline.sample(**words)))
    assert condition.beside[:2, 1:, 0].tolist() == [[0.5, 1, 1, 1], [0.5, 1, 0, 0]]


def told(model, work):
    """The conditions of the network's calls while something is done."""
    seen, kept = [], model.denoiser.net.forward

    def spy(x, angle, condition, valid=None):
        seen.append(condition._replace(beside=condition.beside.clone()))
        return kept(x, angle, condition, valid)

    model.denoiser.net.forward = spy
    try:
        work()
    finally:
        del model.denoiser.net.forward
    return seen


def test_it_is_made_again_from_the_same_file_alone(model, bell, tmp_path):
    run = save(model, tmp_path / "run", recipe=RECIPE)
    (made,) = load(run).sample(like=str(bell), envelope="0:1,0.4:0")
    told = json.loads(json.dumps(made.provenance))
    assert set(told["files"]) == {"like"}
    assert torch.equal(regenerate(told).sample.value, made.sample.value)
    soundfiles.write(torch.zeros(1, 100), 2000, bell)
    with pytest.raises(UserError, match=r"bell\.wav: has changed"):
        regenerate(told)


@pytest.mark.parametrize("modality", ["image", "video"])
def test_a_picture_lends_how_it_looks(tmp_path, modality):
    conditions = {"like": ConditionSpec(kind="style")}
    data = Data(size="8x8", frames=3) if modality == "video" else Data(size="8x8")
    recipe = dataclasses.replace(RECIPE, modality=modality, data=data, conditions=conditions)
    pipeline = Pipeline(lively(build(recipe)), recipe, Origin("run", "pictures", "0", "ema", 1))
    for colour in ("red", "blue"):
        PIL.Image.new("RGB", (20, 10), colour).save(tmp_path / f"{colour}.png")
    words = [{}, {"like": str(tmp_path / "red.png")}, {"like": str(tmp_path / "blue.png")}]
    made = [next(pipeline.sample(**w)) for w in words]
    assert len({one.sample.value.numpy().tobytes() for one in made}) == 3
    assert [set(one.provenance["files"]) for one in made[1:]] == [{"like"}] * 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"like": "none.wav"}, "condition 'like': no such file: none.wav"),
        ({"envelope": "none.wav"}, "condition 'envelope': no such file: none.wav"),
        ({"envelope": "0:2"}, "got the level 2, expected 0"),
        ({"alike": "x"}, "did you mean 'like'"),
    ],
)
def test_what_cannot_be_is_said(pipeline, words, says):
    with pytest.raises(UserError) as error:
        pipeline.sample(**words)
    assert says in str(error.value)
