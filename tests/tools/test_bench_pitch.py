"""The pitch measure on sines of known pitches."""

import importlib.util
import json
import math

import numpy as np
import pytest
import soundfile
import torch

from mmdiff.metrics.pitch import Pitch
from tests.needs import needs
from tools.bench import pitch

ASKED = [50, 57, 60, 66, 71, 76]


def sine(midi, rate=16000, seconds=0.5):
    return 0.3 * np.sin(2 * math.pi * 440 * 2 ** ((midi - 69) / 12) * np.arange(round(rate * seconds)) / rate)


def folder(path, sounding, asked=ASKED, rate=16000, column="midi", suffix="wav"):
    path.mkdir()
    rows = []
    for index, (midi, wanted) in enumerate(zip(sounding, asked, strict=True)):
        soundfile.write(path / f"{index}.{suffix}", sine(midi, rate), rate)
        rows.append({"file_name": f"{index}.{suffix}", "text": "a note", column: wanted})
    (path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def ours(monkeypatch):
    """Our own judge alone."""
    monkeypatch.setattr(pitch, "JUDGES", {"own": pitch.own})


def run(capsys, *words):
    assert pitch.main([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])["judges"]


def values(figures):
    return {name: figure["value"] for name, figure in figures.items()}


def test_figures_stand_beside_those_of_real_notes_and_a_floor(tmp_path, ours, capsys):
    sounding = [ASKED[0], ASKED[1] + 0.3, ASKED[2] + 12, ASKED[3] - 24, ASKED[4] + 0.7, ASKED[5]]
    report = run(
        capsys,
        folder(tmp_path / "out", sounding),
        "--real",
        folder(tmp_path / "real", ASKED, suffix="flac"),
        "--count",
        "4",
    )["own"]
    expected = {"within 20 cents": 2 / 6, "within 50 cents": 3 / 6, "in any octave": 5 / 6}
    assert values(report["generated"]) == pytest.approx(expected)
    assert values(report["real"]) == dict.fromkeys(expected, 1.0)
    assert report["real"]["within 20 cents"]["n"] == 4
    assert report["floor"]["within 20 cents"]["value"] == 0
    figure = report["generated"]["within 50 cents"]
    assert 0 < figure["low"] < 0.5 < figure["high"] < 1


def test_the_floor_judges_notes_by_the_pitches_of_the_others():
    """Of three notes two are asked alike: each of them is right by the other's pitch, one shuffle in two."""
    asked = torch.tensor([60.0, 60.0, 72.0])
    found = pitch.shares(Pitch(asked, torch.ones(3), torch.ones(3).bool()), asked)
    assert found["floor"]["within 20 cents"].value == pytest.approx(2 * (1 / 2) / 3)
    assert found["floor"]["in any octave"].value == 1
    unvoiced = pitch.shares(Pitch(asked, torch.zeros(3), torch.zeros(3).bool()), asked)
    assert all(figure.value == 0 for group in unvoiced.values() for figure in group.values())


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_other_sample_rates_are_resampled(tmp_path, ours, capsys, rate):
    report = run(capsys, folder(tmp_path / "out", ASKED, rate=rate))
    assert values(report["own"]["generated"])["within 20 cents"] == 1


def test_channels_are_mixed_and_silence_is_a_miss(tmp_path, ours, capsys):
    path = folder(tmp_path / "out", ASKED[:3], ASKED[:3], column="pitch")
    soundfile.write(path / "1.wav", np.stack([sine(ASKED[1]), sine(ASKED[1])], axis=1), 16000)
    soundfile.write(path / "2.wav", np.zeros(8000), 16000)
    report = run(capsys, path, "--column", "pitch")
    assert values(report["own"]["generated"])["within 20 cents"] == pytest.approx(2 / 3)


def test_the_seed_chooses_the_real_notes(tmp_path):
    path = folder(tmp_path / "real", ASKED)
    chosen = [pitch.read(path, "midi", 3, seed).asked.tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to judge"),
        (["OUT", "--column", "tone"], "metadata column 'tone'"),
        (["--real", "OUT", "--count", "7"], "--count 7: expected 1 to 6"),
        (["BROKEN"], "0.wav: "),
    ],
)
def test_wrong_input_is_one_line(tmp_path, ours, capsys, options, message):
    places = {"OUT": folder(tmp_path / "out", ASKED), "BROKEN": folder(tmp_path / "broken", [60], [60])}
    (places["BROKEN"] / "0.wav").write_bytes(b"no sound")
    assert pitch.main([str(places.get(word, word)) for word in options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@needs("torchcrepe")
def test_the_real_judge_hears_notes_and_nothing_in_silence_or_noise():
    harmonics = [(k, 1 / k) for k in range(1, 9)]
    waves = [
        sum(a * torch.tensor(sine(midi + 12 * math.log2(k))) for k, a in harmonics).float() for midi in ASKED
    ]
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    found = pitch.crepe([*waves, torch.zeros(8000), noise, torch.zeros(0), torch.full((8000,), math.nan)])
    assert found.voiced.tolist() == [True] * len(ASKED) + [False] * 4
    assert (100 * (found.midi[: len(ASKED)] - torch.tensor(ASKED))).abs().max() < 20


def test_without_the_judge_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert pitch.main([str(folder(tmp_path / "out", [60], [60]))]) == 2
    assert "pip install 'mmdiff[bench]'" in capsys.readouterr().err
