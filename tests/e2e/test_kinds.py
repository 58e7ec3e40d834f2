"""What a run of any kind of media does, by the words of the command line; a new modality is one more entry.

Train, resume, sample, inspect, regenerate, go on from a file, audit: the same laws for pictures, sounds and
clips.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from mmdiff import cli
from mmdiff import recipe as recipes
from mmdiff.data import soundfiles, tones
from mmdiff.generation.pipeline import load
from mmdiff.modalities import MODALITIES, Modality, modality_of
from mmdiff.run import Run
from mmdiff.training import train
from mmdiff.training.loggers import read_rows

TRAINING = """
training: {steps: 2, batch_size: 4, log_every: 1, sample_every: 100, loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""
IMAGE = """
modality: image
data: {source: shapes, size: 8x8, length: 20}
net: {size: custom, patch: 2, width: 16, mults: [1], blocks: 1, attention: []}
conditions: {colour: {kind: label}, shape: {kind: label}}
"""
AUDIO = """
modality: audio
data: {source: tones, length: 20, sample_rate: 2000, seconds: 0.25, representation: mdct(bins=16)}
net: {size: custom, patch: 1, width: 16, mults: [1], blocks: 1, attention: []}
diffusion: {sigma_data: 1.0}
conditions: {timbre: {kind: label}}
"""
VIDEO = """
modality: video
data: {source: bounce, size: 8x8, frames: 4, fps: 8, length: 20}
net: {size: custom, patch: 2, width: 16, mults: [1], blocks: 1, attention: []}
conditions: {colour: {kind: label}}
"""


def picture(path: Path) -> None:
    """Black on the left, red on the right."""
    made = Image.new("RGB", (8, 8))
    made.paste("red", (4, 0, 8, 8))
    made.save(path)


def flat(path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(path)


def note(path: Path) -> None:
    soundfiles.write(tones.tone(0, 1, 2000, 0.25)[0], 2000, path)


@dataclass(frozen=True)
class Kind:
    """A kind of media in a person's words.

    Attributes:
        recipe: of a tiny run.
        wish: a condition, its value, and the value with a letter too much.
        larger: words for samples of another size.
        size: what the provenance calls that.
        shape: of such samples.
        formats: written, and read with this error at most.
        file: makes one to go on from, of this suffix; ``places`` says what is kept.
        kept: the part of a sample that was in the file, within ``error``.
        made: the part that was not.
        wrong: words, and what is said of them.
        facts: of a file, as the audit says them.
    """

    recipe: str
    wish: tuple[str, str, str]
    larger: str
    size: str
    shape: tuple[int, ...]
    formats: tuple[str, ...]
    file: tuple[Callable[[Path], None], str]
    places: str
    kept: Callable[[Tensor], Tensor]
    made: Callable[[Tensor], Tensor]
    error: float
    wrong: tuple[tuple[str, str], ...]
    facts: str


KINDS = {
    "image": Kind(
        recipe=IMAGE,
        wish=("colour", "red", "redd"),
        larger="--size=16x8",
        size="16x8",
        shape=(8, 16, 3),
        formats=("png", "jpg", "webp"),
        file=(picture, ".png"),
        places="@4x8+0+0",
        kept=lambda value: value[:8, :4],
        made=lambda value: value[:, 4:],
        error=0,
        wrong=(
            ("--condition color=red", "unknown condition 'color'; did you mean 'colour'?"),
            ("--condition colour=red --condition colour=blue", "colour is given twice"),
            ("--prompt ring", "takes no prompt"),
            ("--sampler eulr", "did you mean 'euler'?"),
            ("--sampler ddim(etta=1)", "did you mean 'eta'?"),
            ("--grid karas", "did you mean 'karras'?"),
            ("--seconds 1", "--seconds: this run makes pictures, which have --size instead"),
            ("--frames 3", "--frames: this run makes pictures, which have --size instead"),
            ("--format wav", "--format wav: this run makes pictures; expected png, jpg, webp"),
        ),
        facts="8x8",
    ),
    "audio": Kind(
        recipe=AUDIO,
        wish=("timbre", "bell", "bel"),
        larger="--seconds=0.3335",
        size="0.3335s",
        shape=(1, 667),
        formats=("wav", "flac", "ogg"),
        file=(note, ".wav"),
        places="",
        kept=lambda value: value[:, :480],  # all but the last, half-known frame
        made=lambda value: value[:, 520:],
        error=2 / 32768,
        wrong=(
            ("--size 32x32", "--size: this run makes sounds, which have --seconds instead"),
            ("--seconds 0.00001", "expected a sound of at least one sample"),
            ("--format png", "--format png: this run makes sounds; expected wav, flac, ogg, mp3"),
        ),
        facts="seconds 0.25, sample_rate 2000, channels 1",
    ),
    "video": Kind(
        recipe=VIDEO,
        wish=("colour", "green", "gren"),
        larger="--frames=5 --fps=24000/1001 --size=7x9",
        size="7x9x5@24000/1001",
        shape=(5, 9, 7, 3),
        formats=("mp4", "webm", "gif"),
        file=(flat, ".png"),
        places="@0",
        kept=lambda value: value[:1],
        made=lambda value: value[1:],
        error=4,  # of an MP4; tests/generation/test_clips.py has it exactly
        wrong=(
            (
                "--seconds 1 --frames 3",
                "--seconds: got 1 beside --frames 3, expected one of the two",
            ),
            ("--fps 2000", "expected a plain rate, 1000 at most"),
            ("--format png", "--format png: this run makes clips; expected mp4, webm, gif, frames"),
        ),
        facts="width 8, height 8, frames 4, fps 8, seconds 0.5, motion 0.0",
    ),
}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def run(kind, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "tiny.yaml").write_text(kind.recipe + TRAINING)
    assert cli.main(trained(folder / "run")) == 0
    return folder / "run"


def trained(run: Path) -> list[str]:
    return ["train", str(run.parent / "tiny.yaml"), "--run", str(run), "--set", "training.seed=1"]


def drawn(capsys, run: Path, out: Path, *words: str) -> list[Path]:
    """What ``mmdiff sample`` says that it wrote."""
    capsys.readouterr()
    assert cli.main(["sample", str(run), "--out", str(out), *words]) == 0
    return [Path(line) for line in capsys.readouterr().out.splitlines()]


def told(capsys, path: Path) -> dict[str, object]:
    capsys.readouterr()
    assert cli.main(["inspect", str(path)]) == 0
    return json.loads(capsys.readouterr().out)


def modality(run: Path, size: str = "") -> Modality:
    """Of a run, at its own size or another."""
    own = modality_of(Run(run).recipe())
    return own.sized(size) if size else own


def wish(kind: Kind) -> list[str]:
    return ["--condition", f"{kind.wish[0]}={kind.wish[1]}"]


def test_every_modality_is_here():
    assert set(KINDS) == set(MODALITIES)


def test_the_same_train_command_finds_nothing_left_to_do(capsys, run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert cli.main(trained(run)) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert cli.main(trained(run)[:-2]) == 2
    assert "training.seed = 1, asked for 0" in capsys.readouterr().err


def test_stopped_and_resumed_equals_whole(kind, tmp_path):
    (tmp_path / "tiny.yaml").write_text(kind.recipe + TRAINING)
    recipe = recipes.load(tmp_path / "tiny.yaml").override(["training.decay=0", "training.given=0.5"])
    train(recipe.override(["training.steps=4"]), run=tmp_path / "whole", quiet=True)
    train(recipe, run=tmp_path / "parts", quiet=True)
    train(recipe.override(["training.steps=4"]), run=tmp_path / "parts", quiet=True)
    whole, parts = (Run(tmp_path / name) for name in ("whole", "parts"))
    for name in ("model", "ema"):
        one, two = (load_file(getattr(each.newest(), name)) for each in (whole, parts))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    losses = [[(row["step"], row["loss"]) for row in read_rows(each)] for each in (whole, parts)]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[0]] == [1, 2, 3, 4]


def test_a_run_leaves_a_grid_and_a_page_that_plays_what_can_be_played(kind, run):
    made, folder = modality(run), Run(run).samples / "step-00000002"
    files = sorted(folder.glob(f"*{made.suffix}"))
    samples = [path for path in files if path.name != "grid.png"]
    assert len(samples) == 8
    for path in samples:
        assert (
            made.read(path.read_bytes(), path.name).value.shape
            == made.decode(torch.zeros(made.shape)).value.shape
        )
    assert (folder / "grid.png").exists()
    text = Run(run).index.read_text()
    played = re.findall(r'<(audio|video) [^>]*controls[^>]* src="([^"]*)">', text)
    assert [run / source for _, source in played] == (samples if made.plays else [])
    assert {name for name, _ in played} == ({made.plays} - {""})


def test_a_sample_does_not_depend_on_its_neighbours(capsys, kind, run, tmp_path):
    many = drawn(capsys, run, tmp_path / "many", "-n", "3", "--seed", "5", *wish(kind))
    (one,) = drawn(capsys, run, tmp_path / "one", "--seed", "5", *wish(kind))
    suffix = modality(run).suffix
    assert [path.name for path in many] == [f"sample-5-{index}{suffix}" for index in range(3)]
    assert one.read_bytes() == many[0].read_bytes()
    assert len({path.read_bytes() for path in many}) == 3


def test_options_reach_the_samples(capsys, kind, run, tmp_path):
    words = f"--steps=3 --sampler=ddim(eta=1) --grid=karras --guidance=2 --weights=live {kind.larger}"
    sheet = tmp_path / "sheet.png"
    path, shown = drawn(capsys, run, tmp_path, *words.split(), *wish(kind), "--sheet", str(sheet))
    found, (name, value, _) = told(capsys, path), kind.wish
    expected = {"steps": 3, "sampler": "ddim(eta=1)", "grid": "karras", "guidance": 2.0, "size": kind.size}
    assert found | expected | {"weights": "live", "conditions": {name: value}} == found
    with Image.open(shown) as opened:
        assert opened.format == "PNG"


def test_every_format_has_its_size_and_is_made_again(capsys, kind, run, tmp_path):
    for suffix in kind.formats:
        (path,) = drawn(capsys, run, tmp_path, "--format", suffix, *kind.larger.split(), *wish(kind))
        sample = modality(run, kind.size).read(path.read_bytes(), path.name)
        assert tuple(sample.value.shape) == kind.shape
        again = tmp_path / f"again.{suffix}"
        assert cli.main(["regenerate", str(path), "--out", str(again)]) == 0
        assert "identical" in capsys.readouterr().out
        other = modality(run, kind.size).read(again.read_bytes(), again.name)
        assert torch.equal(other.value, sample.value)
        assert told(capsys, again) == told(capsys, path)


def test_a_sheet_tells_of_the_samples_on_it(capsys, kind, run, tmp_path):
    one, two, page = drawn(capsys, run, tmp_path, "-n", "2", "--sheet", str(tmp_path / "sheet.png"))
    assert told(capsys, page)["samples"] == [told(capsys, path) for path in (one, two)]
    grid = told(capsys, Run(run).samples / "step-00000002" / "grid.png")
    assert [each["index"] for each in grid["samples"]] == list(range(8))
    assert cli.main(["regenerate", str(page)]) == 2
    assert "a sheet of samples, of which any can be made again" in capsys.readouterr().err


def test_another_sample_is_noticed(capsys, kind, run, tmp_path):
    (path,) = drawn(capsys, run, tmp_path, *wish(kind))
    made = modality(run)
    made.write(made.decode(torch.ones(made.shape) * 0.5), path, told(capsys, path))
    assert cli.main(["regenerate", str(path), "--out", str(path)]) == 1  # judged before it is written over
    assert "not identical" in capsys.readouterr().out


def test_a_run_that_moved_is_found_where_one_says(capsys, run, tmp_path):
    (path,) = drawn(capsys, run, tmp_path)
    moved = run.rename(run.with_name("moved"))
    try:
        assert cli.main(["regenerate", str(path)]) == 2
        assert "is not a run folder" in capsys.readouterr().err
        assert cli.main(["regenerate", str(path), "--run", str(moved)]) == 0
        assert "byte for byte" in capsys.readouterr().out
    finally:
        moved.rename(run)


def test_wrong_wishes_are_one_line(capsys, kind, run, tmp_path):
    name, value, mistyped = kind.wish
    misspelt = f"--condition {name}={mistyped}", f"did you mean {value!r}?"
    for words, says in (misspelt, *kind.wrong):
        capsys.readouterr()
        assert cli.main(["sample", str(run), "--out", str(tmp_path / "out"), *words.split()]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
        assert not (tmp_path / "out").exists()


def test_what_is_given_stays_and_the_rest_is_made(capsys, kind, run, tmp_path):
    make, suffix = kind.file
    make(tmp_path / f"start{suffix}")
    words = ["--given", f"{tmp_path / f'start{suffix}'}{kind.places}"]
    longer = ["--seconds", "0.5"] if suffix == ".wav" else []
    path, other = drawn(capsys, run, tmp_path, *words, *longer, "-n", "2")
    made = modality(run, str(told(capsys, path)["size"]))
    files = (tmp_path / f"start{suffix}", path, other)
    before, one, two = (made.read(file.read_bytes(), file.name).value.float() for file in files)
    assert (kind.kept(one) - kind.kept(before)).abs().max() <= kind.error
    assert not torch.equal(kind.made(one), kind.made(two))
    assert cli.main(["regenerate", str(path)]) == 0
    if not kind.places:
        assert cli.main(["sample", str(run), *words, "--out", str(tmp_path)]) == 2
        assert f"all of a sample of {modality(run).size} is kept" in capsys.readouterr().err


def test_a_folder_is_audited(capsys, run, tmp_path):
    made = modality(run)
    for index in range(3):
        made.write(made.decode(torch.zeros(made.shape)), tmp_path / f"{index}{made.suffix}")
        (tmp_path / f"{index}.txt").write_text(f"number {index}")
    (tmp_path / f"2{made.suffix}").write_bytes(b"nothing of the kind")
    words = ["data", "audit", str(tmp_path), "--modality", made.name]
    capsys.readouterr()
    assert cli.main(words) == 2
    shown = capsys.readouterr().out
    assert "2 used, 1 rejected" in shown
    assert KINDS[made.name].facts in shown
    assert cli.main([*words, "--max-bad", "0.5", "--json"]) == 0
    used = json.loads(capsys.readouterr().out)["used"]
    assert [row.keys() - {"file_name", "text"} for row in used] == [made.measures] * 2


def test_the_pipeline_and_the_command_line_draw_the_same(capsys, kind, run, tmp_path):
    (path,) = drawn(capsys, run, tmp_path, "--seed", "3", *wish(kind))
    (one,) = load(run).sample(seed=3, **{kind.wish[0]: kind.wish[1]})
    assert one.modality.to_bytes(one.sample, path.suffix, one.provenance) == path.read_bytes()
