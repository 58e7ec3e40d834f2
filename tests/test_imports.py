"""Who may import whom, and what importing costs."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = [
    *("torch", "lightning", "wandb", "numpy", "PIL", "safetensors", "tqdm", "diffusers", "av", "soundfile"),
    "transformers",
]
# What the core may use besides torch: nothing that opens a file, draws a number, or asks the machine.
PURE = {"abc", "collections", "dataclasses", "enum", "functools", "itertools", "math", "typing"}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``lint-imports`` of this interpreter."""
    script = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", script, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_the_contracts_hold(checkout):
    done = lint(checkout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory, checkout):
    """The package in another folder, to break it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(checkout / "mmdiff", folder / "mmdiff", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("where", "what", "contract"),
    [
        ("diffusion/targets.py", "import mmdiff.nets", "Imports go down only"),
        ("diffusion/targets.py", "import mmdiff.recipe", "The core and the nets know torch alone"),
        ("data/scan.py", "import mmdiff.metrics.shapes", "Imports go down only"),
        ("generation/engine.py", "def f():\n    import mmdiff.training", "Imports go down only"),
        ("generation/engine.py", "import mmdiff.evaluation", "Imports go down only"),
        ("recipe.py", "import mmdiff.run", "Imports go down only"),
        ("brandnew.py", "x = 1", "Imports go down only"),
        ("modalities/audio/mel.py", "import mmdiff.modalities.image", "Modalities do not know each other"),
        ("generation/engine.py", "import lightning", "Lightning and the trackers live in training"),
        ("commands/doctor.py", "def g():\n    import wandb", "Lightning and the trackers live in training"),
        ("run.py", "import torch", "The bottom knows no network"),
        ("diffusion/level.py", "import numpy", "The core and the nets know torch alone"),
        ("commands/sample.py", "import PIL", "Pictures are opened above the core"),
        ("modalities/audio/levels.py", "import soundfile", "Sound files are opened in data"),
        ("data/sounds.py", "import torchaudio", "torchaudio lives in modalities"),
        ("generation/asked.py", "import transformers", "transformers lives in conditions"),
    ],
)
def test_each_contract_can_be_broken(copy, where, what, contract):
    """A contract that nothing can break protects nothing."""
    path = copy / "mmdiff" / where
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{what}\n")
    try:
        done = lint(copy)
    finally:
        path.write_text(before) if before is not None else path.unlink()
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in " ".join(done.stdout.split())


@pytest.mark.parametrize("folder", ["diffusion", "nets"])
def test_the_core_imports_torch_and_pure_python_only(checkout, folder):
    for path in (checkout / "mmdiff" / folder).rglob("*.py"):
        for name in imported(path):
            known = name.split(".")[0] in PURE | {"torch", "jaxtyping"}
            ours = name.startswith(("mmdiff.diffusion", "mmdiff.nets", "mmdiff.errors"))
            assert known or ours, f"{path}: {name}"


def imported(path: Path) -> list[str]:
    """Modules that a file names in an import, wherever it stands."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize(
    "code",
    ["import mmdiff", "import mmdiff.recipe, mmdiff.run", "from mmdiff.cli import main; main(['--help'])"],
)
def test_starting_loads_nothing_heavy_and_is_quick(python, code):
    report = f"import json, sys, time; loaded = [name for name in {HEAVY} if name in sys.modules]"
    # The processor's time, interpreter start included: a clock on the wall counts what runs beside this test.
    done = python(
        "-c", f"{code}\n{report}\nprint(json.dumps([loaded, time.process_time()]), file=sys.stderr)"
    )
    assert done.returncode == 0, done.stderr
    loaded, seconds = json.loads(done.stderr.splitlines()[-1])
    assert loaded == []
    assert seconds < 0.5


def test_public_names_are_there_and_others_are_not():
    import mmdiff

    assert callable(mmdiff.load)
    assert callable(mmdiff.train)
    assert {"load", "train"} <= set(dir(mmdiff))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = mmdiff.trian
