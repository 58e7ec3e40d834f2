"""The demonstrations end to end, with a training that is far too short."""

import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import torch
from PIL import Image

from mmdiff import cli
from mmdiff.commands import demo as commands
from mmdiff.data import bounce, shapes, tones
from mmdiff.data.sounds import decoded
from mmdiff.generation.pipeline import Generated
from mmdiff.modalities import Sample, Video
from mmdiff.training import demo as demos
from mmdiff.training.demo import DEMOS, SHOWN, captions, demo, motions, notes

SHORT = [
    "training.steps=2",
    "training.loggers=files",
    "training.batch_size=4",
    "data.length=40",
    "sampling.steps=1",
    "sampling.n=1",
    "sampling.guidance=1",
]
IMAGE = [*SHORT, "data.size=16x16", "net.size=tiny"]
VIDEO = [*SHORT, "data.size=16x16", "data.frames=5", "net.size=tiny"]
AUDIO = [
    *SHORT,
    "data.sample_rate=4000",
    "data.seconds=0.2",
    "data.representation=mdct(bins=32)",
    "net.width=16",
]


def test_the_demo_leaves_a_captioned_grid_a_page_and_judged_shares(tmp_path):
    said = []
    page = demo("image", tmp_path, IMAGE, said.append)
    text = page.read_text()
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width > 4 * 64
    assert re.findall(r'src="([^"]*)"', text) == ["grid.png"]
    for name in ("colour", "shape", "position", "all"):
        assert any(re.match(rf"{name} +\d+% of 96 captions hold", line) for line in said)
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    before = (tmp_path / "grid.png").read_bytes()
    demo("image", tmp_path, IMAGE, said.append)
    assert (tmp_path / "grid.png").read_bytes() == before


def test_the_demo_of_sound_leaves_notes_to_hear_and_judged_shares(tmp_path):
    said = []
    page = demo("audio", tmp_path, AUDIO, said.append)
    heard = sorted((tmp_path / "samples").glob("*.wav"))
    assert len(heard) == SHOWN
    assert {decoded(path.read_bytes(), path.name).wave.shape for path in heard} == {(1, 800)}
    played = re.findall(r'<audio controls preload="none" src="([^"]*)"', page.read_text())
    assert [tmp_path / source for source in played] == heard
    assert (tmp_path / "grid.png").exists()
    for cents in (20, 50):
        assert any(re.match(rf"within {cents} +\d+% of 96 notes.*95 % interval", line) for line in said)


def test_the_demo_of_clips_leaves_films_to_watch_and_judged_shares(tmp_path):
    said = []
    page = demo("video", tmp_path, VIDEO, said.append)
    films = sorted((tmp_path / "samples").glob("*.mp4"))
    assert len(films) == SHOWN
    assert {Video(16, 16, 5).read(path.read_bytes()).value.shape for path in films} == {(5, 16, 16, 3)}
    assert re.findall(r"<video ([a-z ]*) src=", page.read_text()) == [
        "loop autoplay muted controls playsinline"
    ] * (SHOWN)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width > 4 * 3 * 16
    for name in ("thing", "direction", "path", "moving", "all"):
        assert any(re.match(rf"{name} +\d+% of 96 captions hold", line) for line in said)


def test_all_runs_each_in_a_folder_of_its_own(monkeypatch, capsys, tmp_path):
    assert set(commands.DEMOS) == set(demos.DEMOS)
    monkeypatch.setattr(demos, "demo", lambda what, out: out / what)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    assert cli.main(["demo", "audio", "--out", str(tmp_path)]) == 0
    said = [Path(line).relative_to(tmp_path).as_posix() for line in capsys.readouterr().out.splitlines()]
    assert said == ["image/image", "audio/audio", "video/video", "audio"]


def test_the_asked_notes_differ_and_cover_pitches_timbres_and_levels():
    asked = notes(96)
    assert len({truth["text"] + str(truth["pitch"]) for truth in asked}) == 96
    assert {truth["pitch"] for truth in asked} == set(tones.PITCHES)
    for key, table in (("timbre", tones.TIMBRES), ("loudness", tones.VELOCITIES)):
        assert {truth[key] for truth in asked[:SHOWN]} == set(table)


def test_the_shown_captions_cover_colours_shapes_and_positions():
    shown = captions(SHOWN)
    assert {truth["colour"] for truth in shown} == set(shapes.COLOURS)
    assert {truth["shape"] for truth in shown} == set(shapes.SHAPES)
    assert {truth["position"] for truth in shown} == set(shapes.POSITIONS)
    assert len({truth["text"] for truth in captions(96)}) == 96


def test_the_asked_clips_differ_and_cover_all_words():
    asked = motions(96)
    assert len({truth["text"] for truth in asked}) == 96
    for key, table in (("direction", bounce.DIRECTIONS), ("speed", bounce.SPEEDS), ("shape", shapes.SHAPES)):
        assert {truth[key] for truth in asked[:SHOWN]} == set(table)


def generated(clip: Sample) -> Generated:
    return Generated("", {}, 0, 0, {}, clip, Video())


def test_clips_that_keep_to_the_law_are_right_and_frozen_ones_are_not():
    made = [bounce.clip(0, index, (32, 32), 16, Fraction(8)) for index in range(6)]
    truths = [known for _, known in made]
    clips = [Sample(torch.from_numpy(frames), fps=Fraction(8)) for frames, _ in made]
    rates = DEMOS["video"].judged([generated(clip) for clip in clips], truths)
    assert {name: rate.share for name, rate in rates.items()} == dict.fromkeys(DEMOS["video"].cards, 1.0)
    still = [dataclasses.replace(clip, value=clip.value[:1].expand(16, -1, -1, -1)) for clip in clips]
    rates = DEMOS["video"].judged([generated(clip) for clip in still], truths)
    assert (rates["thing"].share, rates["moving"].share, rates["all"].share) == (1.0, 0.0, 0.0)
