import argparse
import itertools
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmdiff
from mmdiff import cli
from mmdiff import recipe as recipes
from mmdiff.commands.sample import file_name
from mmdiff.errors import UserError
from mmdiff.run import Run, commit, create

# A promise: what stands here keeps its name. Adding is fine; taking away or renaming breaks scripts.
PROMISED = {
    "": {"--debug", "--help", "--version", "-h"},
    "demo": {"--out", "DEMO"},
    "train": {"RECIPE", "--data", "--run", "--set", "--devices"},
    "sample": {
        *("RUN", "--prompt", "--condition", "-n", "--steps", "--sampler", "--grid", "--guidance", "--seed"),
        *(
            "--size",
            "--seconds",
            "--frames",
            "--fps",
            "--interval",
            "--rescale",
            "--overlap",
            "--given",
            "--weights",
            "--format",
            "--sheet",
        ),
        "--out",
    },
    "eval": {
        *("RUN", "--data", "-n", "--steps", "--guidance", "--seed", "--pitch", "--embeddings", "--json"),
        "--out",
    },
    "data": set(),
    "data audit": {"PATH", "--modality", "--captions", "--max-bad", "--json"},
    "inspect": {"FILE"},
    "regenerate": {"FILE", "--run", "--out"},
    "recipe": set(),
    "recipe list": set(),
    "recipe show": {"RECIPE", "--set"},
    "recipe validate": {"RECIPE", "--set"},
    "doctor": set(),
}


def parsers(parser: argparse.ArgumentParser, name: str = "") -> dict[str, argparse.ArgumentParser]:
    """Every parser by the words that lead to it."""
    found = {name: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                found |= parsers(child, f"{name} {word}".strip())
    return found


def test_the_options_are_the_promised_ones():
    common = {"--debug", "--help", "-h"}
    found = {}
    for name, parser in parsers(cli.build_parser()).items():
        words = {
            word for action in parser._actions for word in action.option_strings or [str(action.metavar)]
        }
        found[name] = words - common - {"VERB"} | (common if not name else set())
    assert found == PROMISED


@pytest.mark.parametrize("words", [name.split() for name in PROMISED], ids=" ".join)
def test_help_teaches(capsys, words):
    assert cli.main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "usage: mmdiff" in shown
    assert "example" in shown or not PROMISED[" ".join(words)] or not words
    assert all(len(line) <= 112 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("trian", 2, "unknown verb 'trian'; did you mean 'train'?"),
        ("recipe shwo x", 2, "unknown verb 'shwo'; did you mean 'show'?"),
        ("train", 2, "the following arguments are required: RECIPE (see 'mmdiff train --help')"),
        ("recipe", 2, "the following arguments are required: VERB"),
        ("sample x --stesp 4", 2, "unknown option '--stesp' of 'mmdiff sample'; did you mean '--steps'?"),
        ("sample x --promt=a", 2, "unknown option '--promt' of 'mmdiff sample'; did you mean '--prompt'?"),
        ("sample x --step 4", 2, "unknown option '--step' of 'mmdiff sample'; did you mean '--steps'?"),
        ("sample x y", 2, "unexpected argument 'y'"),
        ("sample x -n 0", 2, "argument -n: got '0', expected a whole number of at least 1"),
        ("sample x --steps many", 2, "argument --steps: got 'many', expected a whole number of at least 1"),
        ("sample x --seed -1", 2, "argument --seed: got '-1', expected a whole number of at least 0"),
        (
            "sample x --guidance nan",
            2,
            "argument --guidance: got 'nan', expected W or NAME=W, W a number of",
        ),
        ("sample x --guidance style=x", 2, "argument --guidance: got 'style=x', expected W or NAME=W"),
        ("sample x --guidance =2", 2, "argument --guidance: got '=2', expected W or NAME=W"),
        ("sample x --guidance 1 --guidance 2", 2, "--guidance W: is given twice"),
        ("eval x --guidance a=1 --guidance a=2", 2, "--guidance a=W: is given twice"),
        ("sample x --size 32", 2, "argument --size: size '32': expected WIDTHxHEIGHT in pixels"),
        ("sample x --seconds 0", 2, "argument --seconds: got '0', expected a number above 0"),
        ("sample x --condition google", 2, "argument --condition: got 'google', expected NAME=VALUE"),
        ("sample x --format bmp", 2, "unknown --format 'bmp'"),
        ("sample x --frames 0", 2, "argument --frames: got '0', expected a whole number of at least 1"),
        ("sample x --fps 0", 2, "argument --fps: got '0', expected frames a second, such as 8 or 24000/1001"),
        ("sample nowhere", 2, "nowhere: is not a run folder, expected a recipe.yaml in it"),
        ("eval nowhere", 2, "nowhere: is not a run folder, expected a recipe.yaml in it"),
        ("eval x -n 0", 2, "argument -n: got '0', expected a whole number of at least 1"),
        ("eval x --dta y", 2, "unknown option '--dta' of 'mmdiff eval'; did you mean '--data'?"),
        ("train nowhere.yaml", 2, "nowhere.yaml: no such recipe file, and no built-in recipe"),
        ("train image/shapes --set training.stpes=1", 2, "did you mean 'training.steps'?"),
        ("recipe validate image/shapes --set sampling.sampler=eulr", 2, "did you mean 'euler'?"),
        ("recipe validate image/shapes --set modality=smell", 2, "unknown modality 'smell'"),
        ("data audit nowhere", 2, "nowhere"),
        ("data audit . --max-bad 2", 2, "argument --max-bad: got '2', expected a number from 0 to 1"),
        ("data audit . --modality smell", 2, "unknown modality 'smell'"),
        ("inspect nowhere.png", 2, "nowhere.png: no such file or folder"),
        ("regenerate nowhere.png", 2, "nowhere.png: no such file or folder"),
        ("sample x --out file", 2, "argument --out: file: is a file, expected a folder"),
        ("train image/shapes --run file/run", 2, "argument --run: file: is a file, expected a folder"),
        ("demo image --out file", 2, "argument --out: file: is a file, expected a folder"),
        ("recipe show file", 2, "file: not a text file in UTF-8"),
        ("demo vidoe", 2, "unknown demo 'vidoe'; did you mean 'video'?"),
        ("demo audoi", 2, "unknown demo 'audoi'; did you mean 'audio'?"),
    ],
)
def test_wrong_input_is_one_line_that_helps(capsys, monkeypatch, tmp_path, line, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"\xff\x00")
    assert cli.main(line.split()) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    (message,) = shown.err.splitlines()
    assert message.startswith("mmdiff: ")
    assert says in message


def test_no_word_at_all_shows_the_help(capsys):
    assert cli.main([]) == 2
    assert "start here" in capsys.readouterr().err


def test_debug_adds_the_traceback(capsys):
    for line in (["--debug", "inspect", "nowhere"], ["inspect", "nowhere", "--debug"]):
        assert cli.main(line) == 2
        assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (RuntimeError("it broke\nbadly"), 1, "mmdiff: failed: RuntimeError: it broke (--debug shows where)"),
        (
            OSError(28, "No space left on device"),
            1,
            "mmdiff: failed: OSError: [Errno 28] No space left on device",
        ),
        (KeyboardInterrupt(), 130, "mmdiff: interrupted"),
        (SystemExit(143), 143, ""),
        (SystemExit(), 0, ""),
        (SystemExit("no"), 1, "mmdiff: no"),
        (UserError("torch says\n\t  two lines"), 2, "mmdiff: torch says two lines\n"),
    ],
)
def test_what_goes_wrong_becomes_an_exit_code(capsys, monkeypatch, error, code, says):
    def fail(words):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main(["doctor"]) == code
    shown = capsys.readouterr().err
    assert says in shown
    assert len(shown.splitlines()) <= 1


def test_output_that_nobody_reads_is_no_traceback(python, tmp_path):
    script = f"{sys.executable} -m mmdiff recipe show image/shapes | true"
    done = python("-c", f"import subprocess; subprocess.run({script!r}, shell=True)", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mmdiff {mmdiff.__version__}\n"


def test_recipe_list_and_show_and_validate(capsys, tmp_path):
    assert cli.main(["recipe", "list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"^image/shapes +\S", listed, re.MULTILINE)
    assert cli.main(["recipe", "show", "image/shapes", "--set", "training.steps=7"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# ")
    assert "  steps: 7\n" in shown
    (tmp_path / "mine.yaml").write_text(shown)
    assert cli.main(["recipe", "validate", str(tmp_path / "mine.yaml")]) == 0
    assert capsys.readouterr().out.endswith("mine.yaml: valid\n")


@pytest.mark.parametrize("name", recipes.builtin_names())
def test_built_in_recipes_are_valid(capsys, name):
    assert cli.main(["recipe", "validate", name]) == 0


def test_inspect_a_run_and_a_checkpoint(capsys, tmp_path):
    run = create(tmp_path / "run", recipes.load("image/shapes"))
    for step in (1, 2):
        commit(
            run,
            step,
            lambda part: (part / "model.safetensors").write_text("x"),
            samples_seen=64 * step,
            keep=3,
        )
    run.metrics_jsonl.write_text('{"step": 2, "loss": 0.5}\n{"step": 3')
    run.checkpoint("step-00000001").model.write_text("y")
    assert cli.main(["inspect", str(run.path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"]["saved"] == 2
    assert found["last_row"] == {"step": 2, "loss": 0.5}
    assert [each["problems"] for each in found["checkpoints"]] == [
        ["model.safetensors: its bytes have changed"],
        [],
    ]
    assert cli.main(["inspect", str(run.newest().path)]) == 0
    assert json.loads(capsys.readouterr().out)["samples_seen"] == 128
    assert cli.main(["inspect", str(tmp_path)]) == 2
    assert isinstance(Run(tmp_path), Run)


def test_audit_says_which_file_and_ends_with_2_when_too_many_are_lost(capsys, tmp_path):
    from PIL import Image

    for index in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
        (tmp_path / f"{index}.txt").write_text(f"number {index}")
    assert cli.main(["data", "audit", str(tmp_path)]) == 0
    assert "3 used" in capsys.readouterr().out
    (tmp_path / "1.png").write_bytes(b"no picture")
    assert cli.main(["data", "audit", str(tmp_path), "--json"]) == 2
    shown = capsys.readouterr()
    assert [each["file_name"] for each in json.loads(shown.out)["rejected"]] == ["1.png"]
    assert "1.png" in shown.err
    assert cli.main(["data", "audit", str(tmp_path), "--max-bad", "0.5"]) == 0


def test_doctor_answers_on_any_machine(capsys):
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for name in ("python", "torch", "wandb", "cores", "bf16", "compiler", "disk"):
        assert re.search(rf"^{name} +\S", shown, re.MULTILINE), name


def test_file_names_say_prompt_seed_and_index():
    assert file_name("red heart", 0, 3) == "red-heart-0-3"
    assert file_name("", 7, 0) == "sample-7-0"
    assert file_name("a\u00f1o \u7ea2", 0, 0) == "a\u00f1o-\u7ea2-0-0"


def test_long_names_of_wide_letters_fit_a_file_system():
    assert len(f"{file_name(chr(0x20BB7) * 90, 2**63, 999)}.webp".encode()) < 240


PROMPTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)


@given(PROMPTS, PROMPTS, st.integers(0, 9), st.integers(0, 9))
def test_file_names_are_safe_and_differ_when_prompts_do(first, second, seed, index):
    names = [file_name(prompt, seed, index) for prompt in (first, second)]
    assert (names[0] == names[1]) == (first == second)
    for name in names:
        assert Path(name).name == name
        assert not name.startswith(("-", "."))
        assert len(f"{name}.webp".encode()) <= 255


def test_names_of_prompts_that_look_alike_differ():
    alike = [
        "Red heart",
        "red heart",
        "red heart!",
        "red  heart",
        "red-heart",
        " red heart",
        "red_heart",
        "red/heart",
    ]
    names = [file_name(prompt, 0, 0).lower() for prompt in alike]  # some file systems see no case
    assert all(one != other for one, other in itertools.combinations(names, 2))
