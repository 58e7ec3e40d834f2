"""Sound in training: whitening that belongs to the weights, windows, padding, resume, players."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmdiff import recipe as recipes
from mmdiff.data import soundfiles, tones
from mmdiff.data.detune import WHOLE, Detune
from mmdiff.errors import UserError
from mmdiff.generation.model import build, check
from mmdiff.generation.pipeline import load
from mmdiff.metrics.pitch import pitch
from mmdiff.recipe import Recipe
from mmdiff.run import Run
from mmdiff.training import loggers, train
from mmdiff.training.data import Positions, collate
from mmdiff.training.loggers import read_rows
from mmdiff.training.module import DiffusionModule
from mmdiff.training.prepare import prepare, prompts, whiten
from mmdiff.training.session import new_model
from tests.data import soundzoo

RATE = 2000
TINY = """
name: tiny
modality: audio
data: {sample_rate: 2000, seconds: 0.2, representation: mdct(bins=16)}
net: {size: custom, patch: 1, width: 16, mults: [1, 2], blocks: 1, attention: [1]}
diffusion: {sigma_data: 1.0}
conditions:
  timbre: {kind: label, dropout: 0.3}
training: {steps: 4, batch_size: 4, warmup: 2, log_every: 1, checkpoint_every: 100, sample_every: 100,
  loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Six notes: of the window's length, longer, shorter, and one in stereo at another sample rate."""
    folder, rows = tmp_path_factory.mktemp("sounds"), []
    for i, seconds in enumerate((0.2, 0.5, 0.05, 0.31, 0.13, 0.2)):
        rate = 3000 if i == 3 else RATE
        wave, known = tones.tone(0, i, rate, seconds)
        soundfiles.write(wave.expand(2, -1) if i == 3 else wave, rate, folder / f"{i}.wav")
        rows.append({"file_name": f"{i}.wav", "text": known["text"], "timbre": ("bell", "organ")[i % 2]})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def recipe(sounds) -> Callable[..., Recipe]:
    def make(*settings: str) -> Recipe:
        path = sounds.parent / "tiny.yaml"
        path.write_text(TINY)
        return recipes.load(path).override([f"data.path={sounds}", *settings])

    return make


@pytest.mark.parametrize(
    ("spec", "lossy"),
    [
        ("mdct(bins=16)", False),
        ("wave(patch=4)", False),
        ("mel(bands=8, size=64, hop=16)", True),
        ("polar", True),
    ],
)
def test_what_is_lossy_says_so_when_training_begins(recipe, tmp_path, spec, lossy):
    prepared = prepare(recipe(f"data.representation={spec}"), tmp_path)
    assert any(f"{spec} is lossy" in line for line in prepared.summary) == lossy
    by_code = prepare(
        recipe("data.source=tones", f"data.representation={spec}").override(["conditions={}"]), tmp_path
    )
    assert any(f"{spec} is lossy" in line for line in by_code.summary) == lossy


@pytest.mark.parametrize(
    "spec",
    ["stft(size=64, hop=16)", "wave(patch=8)", "mel(bands=8, size=64, hop=16)", "polar(size=64, hop=16)"],
)
def test_every_representation_trains_in_stereo_and_draws(recipe, tmp_path, spec):
    settings = ("data.channels=2", "training.given=0.5", "training.steps=2")
    run = train(recipe(f"data.representation={spec}", "data.level=peak", *settings), run=tmp_path / "run")
    assert all(math.isfinite(row["loss"]) for row in read_rows(Run(run)))
    (made,) = load(run).sample(timbre="bell", n=1)
    assert made.sample.value.shape == (2, 400)
    assert made.sample.value.isfinite().all()


def test_a_training_on_sounds_hands_what_it_draws_to_all_trackers(recipe, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loggers, "has_key", lambda: False)
    settings = ("training.loggers=auto", "training.steps=2", "training.sample_every=2", "data.level=peak")
    run = train(recipe(*settings), run=tmp_path / "run", quiet=True)
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    drawn = {path.stem: path.read_bytes() for path in run.glob("samples/step-00000002/*.wav")}
    assert drawn
    assert set(events.Tags()["audio"]) == {f"sounds/{name}" for name in drawn}
    copies = [path.read_bytes() for path in run.glob("wandb/offline-run-*/files/media/audio/*.wav")]
    assert sorted(copies) == sorted(drawn.values())


def test_a_run_trains_on_every_good_file_of_the_zoo_and_names_the_others(recipe, tmp_path):
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    good, bad = (
        {
            file
            for name in kind
            if (file := soundzoo.file_name(name)).rpartition(".")[2] not in ("mp4", "webm")
        }
        for kind in (soundzoo.whole() | soundzoo.odd(), soundzoo.broken())
    )
    for name, data in (soundzoo.whole() | soundzoo.odd() | soundzoo.broken()).items():
        (zoo / soundzoo.file_name(name)).write_bytes(data)
    batch = f"training.batch_size={len(good)}"
    asked = recipe(f"data.path={zoo}", "data.max_bad=1", "data.level=peak", "training.steps=1", batch)
    train(asked.override(["conditions={}"]), run=tmp_path / "run", quiet=True)
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    assert record["samples"] == len(good)
    assert {row["file_name"] for row in record["rejected"]} == bad
    (row,) = read_rows(Run(tmp_path / "run"))
    assert math.isfinite(row["loss"])


def test_how_long_a_file_is_can_be_a_condition(recipe, tmp_path):
    seconds = "conditions={long: {kind: number, column: seconds, low: 0, high: 1, dropout: 0}}"
    prepared = prepare(recipe().override([seconds]), tmp_path)
    data = Positions(prepared.source, new_model(prepared.recipe).conditions, prepared.recipe)
    told = {data.source.name(data.place(k)): float(data[k].ids["long"]) for k in range(6)}
    assert [told[f"{i}.wav"] for i in range(6)] == pytest.approx([0.2, 0.5, 0.05, 0.31, 0.13, 0.2])


@pytest.fixture
def made(recipe, tmp_path) -> tuple[DiffusionModule, Positions]:
    prepared = prepare(recipe(), tmp_path)
    module = DiffusionModule(new_model(prepared.recipe), prepared.recipe)
    data = Positions(prepared.source, module.model.conditions, prepared.recipe)
    whiten(module.model, data)
    return module, data


def test_what_is_measured_of_references_is_whitened_and_stays_with_the_run(recipe, tmp_path):
    asked = recipe("conditions.like={kind: style, column: timbre, dropout: 0.3}")
    prepared = prepare(asked, tmp_path)
    model = new_model(prepared.recipe)
    data = Positions(prepared.source, model.conditions, prepared.recipe)
    whiten(model, data)
    part = model.conditions.parts["like"]
    styles = torch.stack([data.modalities[0].style(prepared.source[i][0]) for i in range(6)])
    vary = styles.std(0) > 0.01 * styles.std(0).max()
    whitened = ((styles - part.mean) / part.std)[:, vary]
    torch.testing.assert_close(whitened.mean(0), torch.zeros(vary.sum()), atol=1e-4, rtol=0)
    torch.testing.assert_close(whitened.std(0, correction=0), torch.ones(vary.sum()), atol=1e-3, rtol=0)
    train(asked, run=tmp_path / "run", quiet=True)
    torch.testing.assert_close(load(tmp_path / "run").model.conditions.parts["like"].std, part.std)


def test_a_net_learns_to_hear_a_reference(recipe, tmp_path):
    """With only a reference to go by, the right one tells more of the sound than a wrong one."""
    rows, seconds = [], torch.arange(400) / RATE
    for i in range(16):
        wave = 0.3 * torch.sin(2 * math.pi * (200 + 10 * i) * seconds) * (-20 * seconds * (i % 2)).exp()
        soundfiles.write(wave[None], RATE, tmp_path / f"{i}.wav")
        rows.append({"file_name": f"{i}.wav", "text": "a note", "timbre": ("held", "plucked")[i % 2]})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [
        f"data.path={tmp_path}",
        "data.level=peak",
        "training.steps=150",
        "training.sample_every=150",
        "training.learning_rate=5e-3",
    ]
    like = "conditions={like: {kind: style, column: timbre, dropout: 0.1}}"
    asked = recipe(like, "training.batch_size=16", *settings)
    run = train(asked, run=tmp_path / "run", quiet=True)
    module = DiffusionModule(load(run).model, asked)
    data = Positions(prepare(asked, run).source, module.model.conditions, asked)
    places = [data.place(k) for k in range(10_000, 10_064)]
    batch = collate([data[k] for k in range(10_000, 10_064)], data.modalities[0].unpack)
    other = torch.stack([data.references["like"].measured((place + 1) % 16) for place in places])
    with torch.no_grad():
        right, wrong = (
            float(module.training_step(batch._replace(ids={"like": ids}), 0))
            for ids in (batch.ids["like"], other)
        )
    assert right < 0.9 * wrong


def test_whitening_makes_the_data_as_loud_as_the_ear_resolves_it_and_decoding_undoes_it(made):
    module, data = made
    columns = []
    for k in range(len(data.source)):
        window, valid = data.window(k)
        x0 = module.model.whiten(data.modalities[0].unpack(window))
        columns.append(x0 if valid is None else x0[:, valid[0] == 1])
        wave = module.model.decode(x0, data.modalities[0]).value
        torch.testing.assert_close(wave, window, atol=1e-5, rtol=1e-3)
    every = torch.cat(columns, 1)
    torch.testing.assert_close(every.mean(1), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(every.std(1, unbiased=False), data.modalities[0].gains, atol=1e-3, rtol=0)
    assert data.modalities[0].gains.square().mean() == pytest.approx(1)


def test_pictures_have_no_whitening_and_their_weights_no_new_names():
    settings = ["modality=image", "data.size=8x8", "conditions.timbre.values=[a]"]
    recipe = recipes.load("image/shapes").override(["conditions.timbre.kind=label", *settings])
    model = build(recipe)
    assert not {"mean", "std"} & model.state_dict().keys()
    x0 = torch.rand(2, *model.modality.shape)
    assert model.whiten(x0) is x0


def test_a_window_is_a_function_of_its_position(made):
    _, data = made
    again = Positions(data.source, data.conditions, data.recipe)
    forwards = [data.window(k)[0] for k in range(30)]
    assert all(torch.equal(again.window(k)[0], forwards[k]) for k in reversed(range(30)))
    long = [forwards[k] for k in range(30) if data.source.name(data.place(k)) == "1.wav"]
    assert len(long) == 5
    assert not torch.equal(long[0], long[1])


def test_a_batch_is_masked_only_where_there_is_padding(made):
    _, data = made
    parts = {data.source.name(data.place(k)): data[k] for k in range(6)}
    full = collate([parts["0.wav"], parts["1.wav"]], data.modalities[0].unpack)
    assert full.valid is None
    mixed = collate([parts["0.wav"], parts["2.wav"]], data.modalities[0].unpack)
    assert mixed.valid.shape == (2, 1, data.modalities[0].shape[1])
    assert mixed.valid[0].all()
    assert int(mixed.valid[1].sum()) == data.modalities[0].coder.frames(100)


@torch.no_grad()
def test_nothing_is_learned_from_padding(made):
    """The loss of a short sound is the same whatever noise its padding has."""
    module, data = made
    torch.nn.init.normal_(module.model.denoiser.net.last.weight)  # zero at birth, which would hide all else
    k = next(k for k in range(6) if data.source.name(data.place(k)) == "2.wav")
    batch = collate([data[k]], data.modalities[0].unpack)
    other = batch._replace(eps=torch.where(batch.valid == 1, batch.eps, 7.0))
    losses = [float(module.training_step(each, 0)) for each in (batch, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_whitening_is_in_both_files_and_comes_back(recipe, tmp_path, made):
    run = Run(train(recipe("training.steps=1"), run=tmp_path / "run", quiet=True))
    module, _ = made
    for path in (run.newest().model, run.newest().ema):
        saved = load_file(path)
        assert saved["mean"].shape == saved["std"].shape == (16, 1)
        assert torch.equal(saved["std"], module.model.std)
    assert torch.equal(load(run.path).model.mean, module.model.mean)


def test_tones_need_no_files(recipe, tmp_path):
    prepared = prepare(recipe("data.source=tones", "data.path=null", "data.length=30"), tmp_path)
    assert len(prepared.source) == 30
    assert prepared.source[0][0].shape == (1, 400)
    assert "bell" in prepared.recipe.conditions["timbre"].values
    assert prepared.summary == ("data: 30 tones made by code, 0.2s",)
    assert {"text", "pitch", "timbre"} <= prepared.source.columns(3).keys()
    assert all(values["timbre"] for _, values in prompts(prepared.recipe, prepared.source))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["data.source=shapes"], "data.source: 'shapes' is image, expected modality audio"),
        (["data.source=bounce"], "data.source: 'bounce' is video, expected modality audio"),
        (
            ["data.source=tones", "data.channels=2"],
            "data.channels: got 2, expected 1 with data.source 'tones'",
        ),
    ],
)
def test_sources_that_do_not_fit_are_named(recipe, tmp_path, settings, says):
    with pytest.raises(UserError, match=re.escape(says)):
        prepare(recipe(*settings), tmp_path)


PITCHED = (
    *("data.source=tones", "data.path=null", "data.length=12", "data.sample_rate=16000", "data.seconds=0.5"),
    "conditions.pitch={kind: number, low: 40, high: 90, dropout: 0}",
)


def test_a_sound_that_is_played_lower_says_the_pitch_that_it_has(recipe, tmp_path):
    prepared = prepare(recipe(*PITCHED, "data.detune=pitch/1.5"), tmp_path)
    data = Positions(prepared.source, new_model(prepared.recipe).conditions, prepared.recipe)
    parts = [data[position] for position in range(120)]
    told = torch.stack([40 + 50 * part.ids["pitch"] for part in parts])
    heard = pitch(torch.stack([part.packed[0] for part in parts]), 16000).midi
    assert (heard - told).abs().max() < 0.1
    own = torch.tensor([float(data.source.columns(data.place(k))["pitch"]) for k in range(120)])
    lower = own - told
    assert 0.4 < (lower.abs() < 1e-3).float().mean() < 0.65
    assert lower.min() > -1e-3
    assert 1.3 < lower.max() <= 1.5
    assert all(part.valid is None for part in parts)
    assert all(torch.equal(data.window(k)[0], parts[k].packed) for k in range(12))


def test_a_sound_without_a_pitch_is_played_lower_all_the_same():
    detune = Detune.parse("midi/1")
    assert detune.told({"midi": None, "text": "a"}, detune.most) == {"midi": None, "text": "a"}
    assert detune.samples(0.5) == WHOLE
    assert detune.samples(1 - 1e-9) == detune.most


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["data.detune=pitch"], "data.detune: got 'pitch', expected COLUMN/SEMITONES"),
        (["data.detune=pitch/0"], "data.detune: got 'pitch/0', expected COLUMN/SEMITONES"),
        (["data.detune=midi/1"], "data.detune: no condition of kind 'number' has the column 'midi'"),
        (["data.detune=pitch/12"], "condition 'pitch': got '3"),
    ],
)
def test_what_cannot_be_played_lower_is_said(recipe, tmp_path, settings, says):
    with pytest.raises(UserError, match=re.escape(says)):
        prepare(recipe(*PITCHED, *settings), tmp_path)


def test_a_recipe_of_sound_is_checked_without_data(recipe):
    check(recipe())
    with pytest.raises(UserError, match=r"data\.flip"):
        check(recipe("data.flip=true"))
    with pytest.raises(UserError, match=r"data\.representation"):
        check(recipe("data.representation=mdtc"))


def test_a_style_is_lent_by_a_sample_with_the_same_value_and_envelopes_run_along(recipe, tmp_path):
    like = "conditions.like={kind: style, column: timbre, dropout: 0}"
    prepared = prepare(recipe(like, "conditions.loud={kind: envelope, dropout: 0.5}"), tmp_path)
    model = new_model(prepared.recipe)
    data = Positions(prepared.source, model.conditions, prepared.recipe)
    styles = [data.modalities[0].style(prepared.source[i][0]) for i in range(6)]
    lent = set()
    for position in range(60):
        place, ids = data.place(position), data[position].ids["like"]
        (lender,) = (i for i in range(6) if torch.equal(styles[i], ids))
        assert lender % 2 == place % 2
        lent.add((place, lender))
    assert len(lent) == 18
    batch = collate([data[k] for k in range(40)], data.modalities[0].unpack)
    assert batch.curves.shape == (40, 2, data.modalities[0].shape[1])
    there = batch.curves[:, 1].amax(1)
    assert 10 < there.sum() < 30
    assert not batch.curves[there == 0].any()
    first = int(there.argmax())
    torch.testing.assert_close(batch.curves[first, :1], data.modalities[0].envelope(data.window(first)[0]))
    loss = DiffusionModule(model, prepared.recipe).training_step(batch, 0)
    loss.backward()
    assert all(p.grad is not None for p in model.conditions.parameters())
