"""The demonstrations end to end, with a training that is far too short."""

import dataclasses
import re
from fractions import Fraction

import pytest
import torch
from PIL import Image

from mmdiff import cli
from mmdiff.commands import demo as commands
from mmdiff.data import bounce, shapes, tones
from mmdiff.data.sounds import decoded
from mmdiff.generation.pipeline import Generated
from mmdiff.modalities import Sample, Video
from mmdiff.run import Run
from mmdiff.training import demo as demos
from mmdiff.training.demo import DEMOS, SHOWN, all_demos, captions, demo, motions, notes
from mmdiff.training.page import Figure, Part

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
OVERRIDES = {"image": IMAGE, "audio": AUDIO, "video": VIDEO}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of all demonstrations, and what was said."""
    folder, said = tmp_path_factory.mktemp("demo"), []
    assert all_demos(folder, OVERRIDES, said.append) == folder / "index.html"
    return folder, said


def test_the_demo_leaves_a_captioned_grid_a_page_and_judged_shares(whole):
    folder, said = whole[0] / "image", whole[1]
    with Image.open(folder / "grid.png") as grid:
        assert grid.width > 4 * 64
    assert re.findall(r'src="([^"]*)"', (folder / "index.html").read_text()) == ["grid.png"]
    for name in ("colour", "shape", "position", "all"):
        assert any(re.match(rf"{name} +\d+% of 96 captions hold", line) for line in said)
    assert (folder / "run" / "metrics.jsonl").exists()


def test_a_finished_demo_is_not_trained_again(whole):
    folder = whole[0] / "image"
    left = [folder / name for name in ("grid.png", "index.html", "run/metrics.jsonl")]
    before = [path.read_bytes() for path in left]
    demo("image", folder, OVERRIDES, lambda _: None)
    assert [path.read_bytes() for path in left] == before


def test_the_demo_of_sound_leaves_notes_to_hear_and_judged_shares(whole):
    folder, said = whole[0] / "audio", whole[1]
    heard = sorted((folder / "samples").glob("*.wav"))
    assert len(heard) == SHOWN
    assert {decoded(path.read_bytes(), path.name).wave.shape for path in heard} == {(1, 800)}
    text = (folder / "index.html").read_text()
    assert [
        folder / path for path in re.findall(r'<audio controls preload="none" src="([^"]*)"', text)
    ] == heard
    assert (folder / "grid.png").exists()
    for cents in (20, 50):
        assert any(re.match(rf"within {cents} +\d+% of 96 notes.*95 % interval", line) for line in said)


def test_the_demo_of_clips_leaves_films_to_watch_and_judged_shares(whole):
    folder, said = whole[0] / "video", whole[1]
    films = sorted((folder / "samples").glob("*.mp4"))
    assert len(films) == SHOWN
    assert {Video(16, 16, 5).read(path.read_bytes()).value.shape for path in films} == {(5, 16, 16, 3)}
    assert re.findall(r"<video ([a-z ]*) src=", (folder / "index.html").read_text()) == [
        "loop autoplay muted controls playsinline"
    ] * (SHOWN)
    with Image.open(folder / "grid.png") as grid:
        assert grid.width > 4 * 3 * 16
    for name in ("thing", "direction", "path", "moving", "all"):
        assert any(re.match(rf"{name} +\d+% of 96 captions hold", line) for line in said)


def test_the_net_of_clips_is_born_from_that_of_pictures_here_or_from_one_trained_for_it(whole, tmp_path):
    folder = whole[0] / "video"
    assert Run(folder / "run").recipe().init == str(whole[0] / "image" / "run")
    demo("video", folder, OVERRIDES, lambda _: None)  # finished: as it was born
    assert not (folder / "born").exists()
    alone = tmp_path / "# alone: of no other"
    demo("video", alone, OVERRIDES, lambda _: None)
    assert Run(alone / "run").recipe().init == str(alone / "born")
    assert Run(alone / "born").recipe().name == "shapes"


def test_all_end_in_one_page_that_shows_each_and_leads_to_theirs(whole):
    folder, _ = whole
    _, *parts = (folder / "index.html").read_text().split("<section>")
    for part, what in zip(parts, DEMOS, strict=True):
        assert all(name in part for name in (DEMOS[what].recipe, *DEMOS[what].cards.values()))
        links = re.findall(r'(?:src|href)="([^"]*)"', part)
        assert links[:3] == [f"{what}/index.html", f"{what}/grid.png", f"{what}/grid.png"]
        assert [folder / link for link in links[3:]] == sorted((folder / what / "samples").glob("*"))
        assert all((folder / link).is_file() for link in links)


def test_an_interrupted_demo_of_all_goes_on_with_what_is_missing(monkeypatch, tmp_path):
    begun = []

    def stopped(what, out, *_):
        begun.append(what)
        if (what, begun.count("audio")) == ("audio", 1):
            raise KeyboardInterrupt
        return Part(what, "index.html", [], Figure(1, "grid.png"))

    monkeypatch.setattr(demos, "demo", stopped)
    with pytest.raises(KeyboardInterrupt):
        all_demos(tmp_path)
    assert not (tmp_path / "index.html").exists()
    all_demos(tmp_path)
    assert begun == ["image", "audio", "image", "audio", "video"]


def test_the_command_prints_the_page(monkeypatch, capsys, tmp_path):
    assert set(commands.DEMOS) == set(DEMOS)
    monkeypatch.setattr(demos, "demo", lambda what, *_: Part(what, "index.html", [], Figure(1, "grid.png")))
    for what, folder in (([], "."), (["all"], "."), (["audio"], "audio")):
        assert cli.main(["demo", *what, "--out", str(tmp_path)]) == 0
        assert capsys.readouterr().out == f"{tmp_path / folder / 'index.html'}\n"


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
    every = {(way, colour) for way in bounce.DIRECTIONS for colour in shapes.COLOURS}
    assert {(truth["direction"], truth["colour"]) for truth in asked} == every
    for key, table in (
        ("direction", bounce.DIRECTIONS),
        ("colour", shapes.COLOURS),
        ("shape", shapes.SHAPES),
    ):
        assert {truth[key] for truth in asked[:SHOWN]} == set(table)


def generated(clip: Sample) -> Generated:
    return Generated("", {}, 0, 0, {}, clip, Video())


def test_clips_that_keep_to_the_law_are_right_and_frozen_ones_are_not():
    made = [bounce.clip(0, index, (32, 32), 8, Fraction(8)) for index in range(6)]
    truths = [known for _, known in made]
    clips = [Sample(torch.from_numpy(frames), fps=Fraction(8)) for frames, _ in made]
    rates = DEMOS["video"].judged([generated(clip) for clip in clips], truths)
    assert {name: rate.share for name, rate in rates.items()} == dict.fromkeys(DEMOS["video"].cards, 1.0)
    still = [dataclasses.replace(clip, value=clip.value[:1].expand(8, -1, -1, -1)) for clip in clips]
    rates = DEMOS["video"].judged([generated(clip) for clip in still], truths)
    assert (rates["thing"].share, rates["moving"].share, rates["all"].share) == (1.0, 0.0, 0.0)
