"""Runs are evaluated by the words of the command line, in seconds."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmdiff import cli
from mmdiff.data import shapes, soundfiles, tones
from mmdiff.evaluation import evaluate
from mmdiff.evaluation.evaluate import asked, draw
from mmdiff.evaluation.real import Real
from mmdiff.generation.asked import Asked
from mmdiff.generation.model import build
from mmdiff.generation.pipeline import load
from mmdiff.recipe import ConditionSpec

SOUND = """
modality: audio
data: {source: tones, length: 40, sample_rate: 2000, seconds: 0.25, representation: mdct(bins=16)}
net: {size: custom, patch: 1, width: 16, mults: [1], blocks: 1, attention: []}
diffusion: {sigma_data: 1.0}
conditions: {timbre: {kind: label}, pitch: {kind: number, low: 40, high: 90}}
training: {steps: 2, batch_size: 4, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""
PICTURE = """
modality: image
data: {source: shapes, size: 8x8, length: 20}
net: {size: custom, patch: 2, width: 16, mults: [1], blocks: 1, attention: []}
conditions: {colour: {kind: label}}
training: {steps: 2, batch_size: 4, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""
CLIP = """
modality: video
data: {source: bounce, size: 32x32, frames: 8, fps: 8, length: 40}
net: {size: custom, patch: 4, width: 16, mults: [1], blocks: 1, attention: []}
conditions: {text: {kind: text, tokens: 4}}
training: {steps: 2, batch_size: 4, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


def trained(folder: Path, recipe: str) -> Path:
    (folder / "tiny.yaml").write_text(recipe)
    assert cli.main(["train", str(folder / "tiny.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def sounding(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("sounds"), SOUND)


@pytest.fixture(scope="module")
def drawing(tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("pictures"), PICTURE)


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> Path:
    """Twelve notes with their truth."""
    folder, rows = tmp_path_factory.mktemp("notes"), []
    for index in range(12):
        wave, known = tones.tone(9, index, 2000, 0.25)
        soundfiles.write(wave, 2000, folder / f"{index}.wav")
        rows.append({"file_name": f"{index}.wav", "key": known["pitch"], **known})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_sounds_are_judged_beside_floor_and_ceilings(capsys, sounding, notes, tmp_path):
    words = ["eval", str(sounding), "--data", str(notes), "-n", "6", "--steps", "3", "--guidance", "1.5"]
    words += ["--guidance", "pitch=2"]
    capsys.readouterr()
    assert cli.main([*words, "--seed", "4", "--json", "--out", str(tmp_path / "out")]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    told = json.loads(last)
    assert all(len(line) <= 110 for line in shown[1:])  # the first names paths
    assert [told[key] for key in ("n", "steps", "guidance", "seed")] == [6, 3, 1.5, 4]
    assert told["guidance_by"] == {"pitch": 2.0}
    assert "guidance by pitch: 2" in told["notes"]
    assert set(told["measures"]["pitch error"]) == {
        *("unit", "compared_with", "generated", "floor", "silence", "noise", "shuffled"),
    }
    assert told["measures"]["silent sounds"]["silence"]["value"] == 100
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == told
    assert (tmp_path / "out" / "report.md").read_text().startswith("# ")
    assert "pitches asked for: column pitch" in told["notes"]


def test_notes_made_by_code_need_no_data_and_the_report_repeats(sounding):
    one, two = (evaluate(sounding, n=5, seed=1).as_dict() for _ in range(2))
    assert one == two
    assert one["data"] == "tones made by code with seed 1"
    assert evaluate(sounding, n=5, seed=2).as_dict()["measures"] != one["measures"]


def test_another_column_can_hold_the_pitch(sounding, notes):
    told = evaluate(sounding, notes, n=4, pitch="key")
    assert "pitches asked for: column key" in told.notes


def test_pictures_are_judged_too(capsys, drawing):
    capsys.readouterr()
    assert cli.main(["eval", str(drawing), "-n", "6"]) == 0
    shown = capsys.readouterr().out
    for word in ("colour moments", "mean colour", "slope of the spectrum", "patches at 8x8", "flat", "noise"):
        assert word in shown
    assert "FID" not in shown


def test_clips_are_judged_by_the_law_that_they_move_by(capsys, tmp_path):
    moving = trained(tmp_path, CLIP)
    capsys.readouterr()
    assert cli.main(["eval", str(moving), "-n", "8", "--json"]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    measures = json.loads(last)["measures"]

    def value(measure: str, column: str) -> float:
        return measures[measure][column]["value"]

    assert set(measures["position error"]) == {
        *("unit", "compared_with", "generated", "floor", "frozen", "jumbled", "noise", "shuffled"),
    }
    assert value("position error", "floor") < 1 < value("position error", "noise")
    assert value("speed error", "floor") < 10
    assert value("right shape and colour", "floor") > 95
    assert [value("right direction", column) for column in ("floor", "frozen")] == [100, 0]
    assert [value("shapes that stand still", column) for column in ("floor", "frozen")] == [0, 100]
    assert [value(measure, "frozen") for measure in ("motion", "flicker", "warp error")] == [0, 0, 0]
    names = [line.split("  ")[0] for line in shown]
    assert names.index("flicker") == names.index("motion") + 2  # each has a line for its unit


def test_samples_are_those_that_the_pipeline_draws(sounding):
    pipeline = load(sounding)
    wishes = [{"timbre": "bell", "pitch": "60"}, {}, {"timbre": "sine"}]
    asks = [Asked.of(raw, {}, pipeline.model, pipeline.model.modality) for raw in wishes]
    drawn, broken = draw(pipeline, asks, pipeline.recipe.sampling, seed=3)
    assert broken == 0
    for index, raw in enumerate(wishes):
        (one,) = pipeline.sample(seed=3, first=index, **raw)
        assert torch.equal(drawn[index], one.sample.value)


def test_a_run_that_takes_envelopes_is_asked_for_those_of_real_sounds(sounding):
    loud = {**load(sounding).recipe.conditions, "loud": ConditionSpec(kind="envelope")}
    model = build(dataclasses.replace(load(sounding).recipe, conditions=loud))
    twins = 0.1 * torch.randn(4, 1, model.modality.samples)
    wishes = asked(model, Real(twins, twins, [{}, {"timbre": "bell"}, {}, {}], [{}] * 4, []))
    assert [wish.raw for wish in wishes] == [{}, {"timbre": "bell"}, {}, {}]
    for twin, wish in zip(twins, wishes, strict=True):
        assert torch.equal(wish.curves[:1], model.modality.envelope(twin))
        assert bool((wish.curves[1:] == 1).all())


def test_samples_that_are_not_finite_are_counted(sounding, monkeypatch):
    calls = []

    def decode(self, x0, modality):
        calls.append(x0)
        return modality.decode(x0 * float("nan") if len(calls) == 2 else x0)

    monkeypatch.setattr("mmdiff.generation.model.Model.decode", decode)
    report = evaluate(sounding, n=4)
    assert "1 samples were not finite; they are judged as silence, or as black" in report.notes
    monkeypatch.setattr(
        "mmdiff.generation.model.Model.decode", lambda self, x0, modality: modality.decode(x0 * float("nan"))
    )
    with pytest.raises(ValueError, match="draws nothing but numbers that are not finite"):
        evaluate(sounding, n=4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "nowhere"], "nowhere does not exist; expected a folder or a tar archive"),
        (["-n", "3"], "-n 3: expected 4 or more"),
        (["-n", "21"], "-n 21: expected at most 20, half of the 40 sounds of tones made by code"),
        (
            ["--pitch", "pitche"],
            "--pitch pitche: no sample has a number in that column; did you mean 'pitch'?",
        ),
    ],
)
def test_wrong_wishes_are_one_line(capsys, sounding, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert cli.main(["eval", str(sounding), *words, "--out", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "out").exists()


def test_a_report_goes_into_a_folder(capsys, sounding, tmp_path):
    (tmp_path / "file").write_text("mine")
    capsys.readouterr()
    assert cli.main(["eval", str(sounding), "-n", "4", "--out", str(tmp_path / "file")]) == 2
    assert "file: is a file, expected a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_what_pictures_do_not_have_is_refused(capsys, drawing):
    for word in (["--pitch", "midi"], ["--embeddings"]):
        capsys.readouterr()
        assert cli.main(["eval", str(drawing), *word]) == 2
        assert f"{word[0]}: this run makes no sounds" in capsys.readouterr().err


def test_a_run_on_a_folder_needs_data(capsys, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(8):
        (folder / f"{index}.txt").write_text("a shape")
        made = shapes.Shapes(0, 8, (8, 8))[index][0]
        Image.fromarray(made.permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    recipe = PICTURE.replace("source: shapes", f"path: {folder}").replace("{colour: {kind: label}}", "{}")
    run = trained(tmp_path, recipe)
    capsys.readouterr()
    assert cli.main(["eval", str(run)]) == 2
    assert "--data: got nothing, expected a folder or a tar of real pictures" in capsys.readouterr().err
    assert cli.main(["eval", str(run), "--data", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "4 pictures of 8x8" in shown
    assert "the run was trained on these" in shown
