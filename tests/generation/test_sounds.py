"""Sounds that are made from others: what is kept comes back, whatever the representation."""

import json
import math

import pytest
import torch

from mmdiff.data import soundfiles, tones
from mmdiff.errors import UserError
from mmdiff.generation.model import build
from mmdiff.generation.pipeline import Pipeline, load, regenerate
from mmdiff.modalities.audio.levels import POLICIES
from mmdiff.recipe import ConditionSpec, Data, Net, Recipe, Sampling, Training
from tests.generation.conftest import lively, save

RATE, SAMPLES = 2000, 1000
FADE = 32  # samples that made frames of the kinds below reach at most
SPECTRA = (
    "mdct(bins=16)",
    "stft(size=64, hop=16)",
    "polar(size=64, hop=16)",
    "mel(bands=20, size=64, hop=16)",
)


def pipeline_of(folder, spectrum: str, **data) -> Pipeline:
    recipe = Recipe(
        name="sounds",
        modality="audio",
        data=Data(sample_rate=RATE, seconds=SAMPLES / RATE, representation=spectrum, **data),
        net=Net(size="custom", patch=1, width=16, mults=(1, 2), blocks=1, attention=(1,)),
        conditions={"timbre": ConditionSpec(kind="label", values=("bell", "reed"))},
        training=Training(steps=1, precision="fp32"),
        sampling=Sampling(steps=4),
    )
    model = build(recipe)
    channels = model.modality.shape[0]
    model.mean.copy_(torch.linspace(-0.1, 0.1, channels)[:, None])
    model.std.copy_(torch.linspace(0.05, 0.2, channels)[:, None])
    statistics = {"mean": model.mean.clone(), "std": model.std.clone()}
    lively(model)
    model.load_state_dict(statistics, strict=False)
    return load(save(model, folder / "run", recipe=recipe))


@pytest.fixture(scope="module", params=SPECTRA)
def pipeline(request, tmp_path_factory) -> Pipeline:
    return pipeline_of(tmp_path_factory.mktemp("sounds"), request.param)


@pytest.fixture(scope="module")
def note(tmp_path_factory):
    path = tmp_path_factory.mktemp("note") / "note.wav"
    soundfiles.write(0.5 * tones.tone(0, 1, RATE, SAMPLES / RATE)[0], RATE, path)
    return path


def wave(pipeline, path) -> torch.Tensor:
    modality = pipeline.model.modality
    return modality.pack(modality.read(path.read_bytes(), path.name))


def test_a_gap_is_filled_and_all_else_comes_back(pipeline, note):
    before = wave(pipeline, note)
    one, two = (made.sample.value for made in pipeline.sample(n=2, given=f"{note}@0-0.2,0.35-"))
    for made in (one, two):
        assert torch.equal(made[:, : 400 - FADE], before[:, : 400 - FADE])
        assert torch.equal(made[:, 700 + FADE :], before[:, 700 + FADE :])
        assert (made[:, 400:700] - before[:, 400:700]).abs().max() > 0.01
    assert not torch.equal(one[:, 400:700], two[:, 400:700])


def test_what_goes_on_begins_with_what_was_there(pipeline, note):
    (made,) = pipeline.sample(given=note, size="0.8s")
    assert made.sample.value.shape == (1, 1600)
    before = wave(pipeline, note)
    assert torch.equal(made.sample.value[:, : SAMPLES - FADE], before[:, : SAMPLES - FADE])
    assert bool(made.sample.value[:, SAMPLES:].any())


def test_what_leads_to_a_sound_ends_with_it(pipeline, note):
    (made,) = pipeline.sample(given=f"{note}:0.3", size="0.8s")
    before = wave(pipeline, note)
    assert torch.equal(made.sample.value[:, 600 + FADE :], before[:, FADE:])
    assert bool(made.sample.value[:, : 600 - FADE].any())
    again = regenerate(json.loads(json.dumps(made.provenance)))
    assert torch.equal(again.sample.value, made.sample.value)
    for start in ("0.8", "-1", "1:2", ".", "x"):
        with pytest.raises(UserError, match=f"start '{start}': expected seconds from 0 on, below 0.8"):
            pipeline.sample(given=f"{note}:{start}", size="0.8s")


def test_two_sounds_that_meet_fade_into_each_other(pipeline, note):
    (made,) = pipeline.sample(given=[f"{note}@0-0.25", f"{note}:0.25"], size="0.8s")
    before = wave(pipeline, note)
    assert torch.equal(made.sample.value[:, : 500 - FADE], before[:, : 500 - FADE])
    assert torch.equal(made.sample.value[:, 500 + FADE : 1500 - FADE], before[:, FADE : 1000 - FADE])
    whole = pipeline.model.modality.sized("0.8s")
    x0, ends = whole.unpack(torch.zeros(1, 1600)), torch.arange(1600) < 500
    high, low = torch.ones(1, 1600), -torch.ones(1, 1600)
    spliced = whole.decode_beside(x0, [(ends, high), (~ends, low)]).value
    assert torch.equal(spliced[:, :400], high[:, :400])
    assert torch.equal(spliced[:, 600:-FADE], low[:, 600:-FADE])
    assert spliced.diff().abs().max() < 0.2  # no click where both end


def test_a_variation_keeps_more_the_weaker_it_is(pipeline, note):
    coder, before = pipeline.model.modality.coder, wave(pipeline, note)

    def change(strength: float) -> float:
        (made,) = pipeline.sample(given=f"{note}~{strength}", steps=20)
        return float((coder.encode(made.sample.value) - coder.encode(before)).square().mean())

    changes = [change(strength) for strength in (0.05, 0.5, 0.95)]
    assert changes == sorted(changes)
    assert changes[0] < changes[2] / 2


@pytest.mark.parametrize("seconds", [0.2, 30.0])
def test_one_model_makes_sounds_of_many_lengths(pipeline, seconds):
    (made,) = pipeline.sample(size=f"{seconds}s", steps=2)
    assert made.sample.value.shape == (1, round(seconds * RATE))
    part = made.sample.value[0].unfold(0, 200, 200)
    assert bool((part.abs().amax(1) > 0).all())


@pytest.mark.parametrize("level", ["peak", "rms", "loudness"])
def test_the_level_of_one_does_not_depend_on_others(tmp_path, level):
    pipeline = pipeline_of(tmp_path, SPECTRA[0], level=level)
    many = [made.sample.value for made in pipeline.sample(n=3, seed=5)]
    (alone,) = pipeline.sample(seed=5, first=2)
    assert torch.equal(many[2], alone.sample.value)
    (plain,) = pipeline_of(tmp_path / "plain", SPECTRA[0]).sample(seed=5, first=2)
    assert not torch.equal(alone.sample.value, plain.sample.value)


@pytest.mark.parametrize("level", POLICIES)
def test_what_is_kept_is_as_loud_as_it_was_whatever_the_level(tmp_path, note, level):
    pipeline = pipeline_of(tmp_path, "mdct(bins=16)", level=level)
    (made,) = pipeline.sample(given=f"{note}@0-0.2")
    kept = round(0.2 * RATE) - FADE
    assert torch.equal(made.sample.value[:, :kept], wave(pipeline, note)[:, :kept])


def test_stereo_is_made_and_written(tmp_path):
    pipeline = pipeline_of(tmp_path, SPECTRA[0], channels=2, level="peak")
    (made,) = pipeline.sample()
    assert made.sample.value.shape == (2, SAMPLES)
    assert not torch.equal(*made.sample.value)
    for suffix in (".wav", ".flac", ".ogg"):
        made.save(tmp_path / f"a{suffix}")
        again = pipeline.model.modality.read((tmp_path / f"a{suffix}").read_bytes(), suffix).value
        assert again.shape == (2, SAMPLES)


def test_one_that_is_not_finite_is_named_and_the_others_come(tmp_path):
    pipeline = pipeline_of(tmp_path, SPECTRA[0])
    table = next(part for part in pipeline.model.modules() if isinstance(part, torch.nn.Embedding))
    with torch.no_grad():
        table.weight[1] = math.nan
    made = pipeline.each([("", {"timbre": timbre}) for timbre in ("bell", "reed", "bell")], seed=3)
    assert [next(made).conditions["timbre"] for _ in range(2)] == ["bell", "bell"]
    with pytest.raises(UserError, match="sample 1 of '' with seed 3: x0 holds numbers that are not finite"):
        next(made)


def test_a_loud_file_is_named(pipeline, note, tmp_path):
    (made,) = pipeline.sample()
    made.sample.value.fill_(2.0)
    with pytest.warns(UserWarning, match=r"^loud\.wav: 100\.00% of the samples"):
        made.save(tmp_path / "loud.wav")
