"""A run by the words of the command line: train, sample, inspect, regenerate."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmdiff import cli

TINY = """
modality: image
data: {source: shapes, size: 8x8, length: 20}
net: {size: custom, patch: 2, width: 16, mults: [1], blocks: 1, attention: []}
conditions: {colour: {kind: label}, shape: {kind: label}}
training: {steps: 2, batch_size: 4, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.yaml").write_text(TINY)
    assert (
        cli.main(
            ["train", str(folder / "tiny.yaml"), "--run", str(folder / "run"), "--set", "training.seed=1"]
        )
        == 0
    )
    return folder / "run"


def drawn(capsys, run: Path, out: Path, *words: str) -> list[Path]:
    """What ``mmdiff sample`` says that it wrote."""
    capsys.readouterr()
    assert cli.main(["sample", str(run), "--out", str(out), *words]) == 0
    return [Path(line) for line in capsys.readouterr().out.splitlines()]


def test_the_same_train_command_finds_nothing_left_to_do(capsys, run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    recipe = run.parent / "tiny.yaml"
    assert cli.main(["train", str(recipe), "--run", str(run), "--set", "training.seed=1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert cli.main(["train", str(recipe), "--run", str(run)]) == 2
    assert "training.seed = 1, asked for 0" in capsys.readouterr().err


def test_a_sample_does_not_depend_on_its_neighbours(capsys, run, tmp_path):
    many = drawn(capsys, run, tmp_path / "many", "-n", "3", "--seed", "5", "--condition", "colour=red")
    (one,) = drawn(capsys, run, tmp_path / "one", "--seed", "5", "--condition", "colour=red")
    assert [path.name for path in many] == ["sample-5-0.png", "sample-5-1.png", "sample-5-2.png"]
    assert one.read_bytes() == many[0].read_bytes()
    assert len({path.read_bytes() for path in many}) == 3


def test_options_reach_the_samples(capsys, run, tmp_path):
    words = (
        "--steps=3 --sampler=ddim(eta=1) --grid=karras --guidance=2 --size=16x8 --weights=live --format=webp"
    )
    picture, sheet = drawn(
        capsys, run, tmp_path, *words.split(), "--condition", "shape=ring", "--sheet", str(tmp_path / "s.png")
    )
    assert cli.main(["inspect", str(picture)]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = {"steps": 3, "sampler": "ddim(eta=1)", "grid": "karras", "guidance": 2.0, "size": "16x8"}
    assert told | expected | {"weights": "live", "conditions": {"shape": "ring"}} == told
    with Image.open(picture) as opened:
        assert (opened.size, opened.format) == ((16, 8), "WEBP")
    with Image.open(sheet) as opened:
        assert opened.format == "PNG"


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_regenerating_is_identical_and_notices_when_it_is_not(capsys, run, tmp_path, kind):
    (picture,) = drawn(capsys, run, tmp_path, "--format", kind, "--condition", "shape=star")
    again = tmp_path / f"again.{kind}"
    assert cli.main(["regenerate", str(picture), "--out", str(again)]) == 0
    assert "identical" in capsys.readouterr().out
    assert again.read_bytes() == picture.read_bytes()
    with Image.open(picture) as opened:
        other = Image.new("RGB", opened.size, "red")
        other.save(tmp_path / f"other.{kind}", pnginfo=None, exif=opened.getexif())
    if kind != "png":  # the provenance of a PNG is no EXIF, so the other picture has none
        assert cli.main(["regenerate", str(tmp_path / f"other.{kind}")]) == 1
        assert "not identical" in capsys.readouterr().out


def test_a_run_that_moved_is_found_where_one_says(capsys, run, tmp_path):
    (picture,) = drawn(capsys, run, tmp_path)
    moved = run.rename(run.with_name("moved"))
    try:
        assert cli.main(["regenerate", str(picture)]) == 2
        assert "is not a run folder" in capsys.readouterr().err
        assert cli.main(["regenerate", str(picture), "--run", str(moved)]) == 0
        assert "byte for byte" in capsys.readouterr().out
    finally:
        moved.rename(run)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--condition", "color=red"], "unknown condition 'color'; did you mean 'colour'?"),
        (["--condition", "colour=redd"], "did you mean 'red'?"),
        (["--condition", "colour=red", "--condition", "colour=blue"], "colour is given twice"),
        (["--prompt", "a red ring"], "takes no prompt"),
        (["--sampler", "eulr"], "did you mean 'euler'?"),
        (["--sampler", "ddim(etta=1)"], "did you mean 'eta'?"),
        (["--grid", "karas"], "did you mean 'karras'?"),
        (["--seconds", "1"], "--seconds: this run makes pictures, which have --size instead"),
        (["--format", "wav"], "--format wav: this run makes pictures; expected png, jpg, webp"),
    ],
)
def test_wrong_wishes_are_one_line(capsys, run, tmp_path, words, says):
    capsys.readouterr()
    assert cli.main(["sample", str(run), "--out", str(tmp_path / "out"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "out").exists()
