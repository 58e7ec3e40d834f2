"""The measure of notes on tones that code makes."""

import json

import pytest
import torch

from mmdiff import cli
from mmdiff.data import soundfiles, tones
from tools.bench import notes, pitch

KINDS = ("hollow", "bright", "bell")
TINY = """
modality: audio
data: {sample_rate: 16000, seconds: 0.8, representation: mdct(bins=64), hold_out: instrument+midi/3}
net: {size: custom, patch: 1, width: 16, mults: [1], blocks: 1, attention: []}
diffusion: {target: edm, sigma_data: 1.0}
conditions:
  text: {kind: text, tokens: 2}
  instrument: {kind: label}
  pitch: {kind: number, column: midi, low: 40, high: 90}
  like: {kind: style, column: instrument}
  envelope: {kind: envelope}
training: {steps: 1, batch_size: 2, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Loud notes of three timbres and four pitches, 0.8 s, two of each."""
    path, rows = tmp_path_factory.mktemp("notes"), []
    for index in range(6000):
        known = tones.columns(0, index, 0.8)
        key = known["timbre"], known["pitch"]
        wanted = key[0] in KINDS and key[1] in (50, 57, 64, 71) and known["loudness"] == "loud"
        if wanted and sum((row["instrument"], row["midi"]) == key for row in rows) < 2:
            soundfiles.write(tones.tone(0, index, 16_000, 0.8)[0], 16_000, path / f"{index}.wav")
            row = {"file_name": f"{index}.wav", "text": "a note", "instrument": key[0], "midi": key[1]}
            rows.append(row)
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(rows) == 24
    return path


@pytest.fixture(scope="module")
def run(folder):
    (folder.parent / "tiny.yaml").write_text(TINY)
    words = [
        "train",
        str(folder.parent / "tiny.yaml"),
        "--data",
        str(folder),
        "--run",
        str(folder.parent / "run"),
    ]
    assert cli.main(words) == 0
    return folder.parent / "run"


def test_the_classifier_names_the_timbre_of_notes_that_it_never_heard(folder):
    every = notes.read(folder, None)
    judged = every[::3]
    judge = notes.classifier(every, judged)
    found = judge.right([note.wave for note in judged], [note.instrument for note in judged])
    assert found.value == 1.0
    noise = [0.1 * torch.randn(12_800, generator=torch.Generator().manual_seed(i)) for i in range(9)]
    assert judge.right(noise, list(KINDS) * 3).value < 0.6


def test_two_notes_cut_together_have_a_seam(folder):
    every = notes.read(folder, None)
    real = [note.wave for note in every]
    assert notes.seams(real, real).value >= 0.9
    assert notes.seams(notes.spliced(every), real).value < 0.5


def test_half_of_the_notes_are_held_out(folder):
    every = notes.read(folder, "instrument+midi/3")
    assert sum(note.held_out for note in every) == 8
    some = notes.chosen(every, 8, seed=0)
    assert [note.held_out for note in some] == [False] * 4 + [True] * 4
    assert len(notes.chosen(every, 100, seed=0)) == 24


def test_the_whole_measure_of_a_run(run, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notes, "JUDGES", {"own": pitch.own})
    words = [
        str(run),
        "--data",
        str(folder),
        "--count",
        "4",
        "--seams",
        "2",
        "--out",
        str(tmp_path),
        "--json",
    ]
    assert notes.main(words) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["all"]["real"]["own: within 20 cents"]["value"] == 1.0
    assert report["all"]["real"]["instrument"]["n"] == 4
    assert set(report["held out"]["drawn"]) == set(report["all"]["real"])
    assert report["held out"]["drawn"]["instrument"]["n"] == 2
    assert report["seam"]["continued"]["all"]["n"] == 2
    assert report["reference"]["alike"]["all"]["n"] == report["reference"]["unlike"]["all"]["n"] == 4
    assert (tmp_path / "notes.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_no_data_is_said(run, tmp_path, capsys):
    (tmp_path / "metadata.jsonl").write_text("")
    assert notes.main([str(run), "--data", str(tmp_path)]) == 2
    assert "columns instrument and midi" in capsys.readouterr().err
