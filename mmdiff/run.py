"""The run folder: the one artefact of a training run; an interruption never leaves a broken one.

    runs/NAME/
      recipe.yaml            resolved, complete
      checkpoints/step-00001000/{model.safetensors, ema.safetensors, trainer.pt, meta.json, manifest.json}
      latest                 text: the newest verified checkpoint
      metrics.jsonl  metrics.csv  samples/step-*/  index.html

A checkpoint folder is prepared under a temporary name, its manifest (size and sha256 of each file) is written
last, and one rename makes it visible. Reading takes the newest checkpoint whose manifest verifies: no weight
format in use notices a flipped byte by itself.
"""

import dataclasses
import hashlib
import json
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import mmdiff
from mmdiff import files, schema
from mmdiff import recipe as recipes
from mmdiff.errors import UserError
from mmdiff.recipe import Recipe

# What may change between two starts of one run.  None of it changes what a step computes, except that
# ``training.steps`` also says when the learning rate begins to fall.
FREE = frozenset(
    {
        "name",
        *(f"data.{key}" for key in ("path", "workers", "cache_mb", "max_bad")),
        *(f"training.{key}" for key in ("steps", "log_every", "checkpoint_every", "sample_every")),
        *(f"training.{key}" for key in ("keep", "loggers", "devices")),
    }
)
_STEP = re.compile(r"step-(\d{8,})")


class DamagedCheckpoint(UserWarning):
    """A checkpoint does not verify and an older one is used in its place."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint folder, ``checkpoints/step-NNNNNNNN``."""

    path: Path

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def ema(self) -> Path:
        return self.path / "ema.safetensors"

    @property
    def trainer(self) -> Path:
        return self.path / "trainer.pt"

    @property
    def meta(self) -> Path:
        return self.path / "meta.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def step(self) -> int:
        match = _STEP.fullmatch(self.path.name)
        if match is None:
            raise UserError(f"{self.path}: is not a checkpoint, expected a folder named step-NNNNNNNN")
        return int(match[1])

    def facts(self) -> dict[str, Any]:
        """What the manifest promises: step, samples_seen, versions, and bytes and sha256 of each file."""
        content: dict[str, Any] = json.loads(self.manifest.read_text())
        return content

    def verify(self) -> list[str]:
        """What is wrong with it, one line each; an empty list when every byte is as it was saved."""
        try:
            manifest = self.facts()
            promised = dict(manifest["files"])
            if manifest["sha256"] != _digest(manifest) or manifest["step"] != self.step:
                return ["manifest.json: does not match itself"]
        except FileNotFoundError:
            return ["manifest.json: missing"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            return [f"manifest.json: unreadable ({type(error).__name__})"]
        return [problem for name, facts in promised.items() if (problem := _compare(self.path, name, facts))]


@dataclass(frozen=True)
class Run:
    """A run folder; holds no state beyond its path."""

    path: Path

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def metrics_jsonl(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def metrics_csv(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def index(self) -> Path:
        return self.path / "index.html"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def latest(self) -> Path:
        return self.path / "latest"

    def recipe(self) -> Recipe:
        """The resolved recipe of this run.

        Raises:
            UserError: the folder is not a run.
        """
        if not self.recipe_path.is_file():
            raise UserError(f"{self.path}: is not a run folder, expected a recipe.yaml in it")
        return recipes.load(self.recipe_path)

    def checkpoint_names(self) -> list[str]:
        """Names of the checkpoints, oldest first, verified or not."""
        if not self.checkpoints.is_dir():
            return []
        names = [path.name for path in self.checkpoints.iterdir() if _STEP.fullmatch(path.name)]
        return sorted(names, key=lambda name: int(name.removeprefix("step-")))

    def checkpoint(self, name: str) -> Checkpoint:
        return Checkpoint(self.checkpoints / name)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that verifies; warns of each damaged one that it passes over."""
        for name in reversed(self.checkpoint_names()):
            checkpoint = self.checkpoint(name)
            problems = checkpoint.verify()
            if not problems:
                return checkpoint
            damage = f"{checkpoint.path} is damaged ({'; '.join(problems)}); looking at the one before"
            warnings.warn(damage, DamagedCheckpoint, stacklevel=2)
        return None


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps others from training in a run folder meanwhile; a process that ends, however it does, lets go.

    Raises:
        UserError: another process holds it, or the folder holds something else.
    """
    refuse_foreign(Run(path))
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{path}: another process trains there; expected it to end, or another --run"
        ) from None
    try:
        yield
    finally:
        lock.release()


def create(path: str | Path, recipe: Recipe) -> Run:
    """The run folder at ``path``, made or resumed; removes temporary files of killed writers.

    The recipe.yaml of a resumed run becomes ``resume_recipe`` of what it holds and what is asked for.

    Raises:
        UserError: the folder holds something else, or a run of a different recipe.
    """
    run = Run(Path(path))
    refuse_foreign(run)
    if run.recipe_path.exists():
        stored = run.recipe()
        if not run.checkpoint_names():  # nothing was born from it yet
            stored = dataclasses.replace(stored, init=recipe.init)
        recipe = resume_recipe(stored, recipe, run.path)
    run.path.mkdir(parents=True, exist_ok=True)
    files.sweep(run.path)
    text = recipes.dump(recipe)
    if not run.recipe_path.exists() or run.recipe_path.read_text() != text:
        files.write_text(run.recipe_path, text)  # first of all: without it the folder is no run
    run.checkpoints.mkdir(exist_ok=True)
    files.sweep(run.checkpoints)
    return run


def refuse_foreign(run: Run) -> None:
    """Raises UserError if there is a file, or a folder that holds something and no run."""
    if run.path.exists() and not run.path.is_dir():
        raise UserError(f"{run.path}: is a file, expected a new or empty folder")
    found = run.path.iterdir() if run.path.exists() and not run.recipe_path.exists() else ()
    if any(not part.name.startswith(".") for part in found):
        raise UserError(f"{run.path}: is not empty and not a run folder, expected a new or empty folder")


def resume_recipe(stored: Recipe, asked: Recipe, path: Path) -> Recipe:
    """What a resumed run goes on with: ``asked``, and where that leaves open labels or data, ``stored``.

    Raises:
        UserError: they differ in a key that decides what the run computes; names the first one.
    """
    conditions = {
        name: dataclasses.replace(spec, values=stored.conditions[name].values)
        if spec.values is None and name in stored.conditions
        else spec
        for name, spec in asked.conditions.items()
    }
    asked = dataclasses.replace(asked, conditions=conditions)
    if asked.data.path is None:
        asked = dataclasses.replace(asked, data=dataclasses.replace(asked.data, path=stored.data.path))
    before, now = dict(_leaves(schema.plain(stored))), dict(_leaves(schema.plain(asked)))
    for key in [*now, *(key for key in before if key not in now)]:
        if key in FREE or key.startswith("sampling.") or before.get(key) == now.get(key):
            continue
        was, came = (f"{side[key]!r}" if key in side else "nothing" for side in (before, now))
        raise UserError(
            f"{path}: holds a run with {key} = {was}, asked for {came}; "
            "expected the same recipe to resume it, or another --run folder"
        )
    return asked


def commit(run: Run, step: int, write: Callable[[Path], None], *, samples_seen: int, keep: int) -> Checkpoint:
    """Saves a checkpoint: whole or not at all.

    ``write`` fills a temporary folder with the files. A checkpoint of this step that verifies is kept as it
    is (the same step of the same run has the same content); a damaged one is replaced. Afterwards only the
    ``keep`` newest stay.
    """
    final = run.checkpoint(f"step-{step:08d}")
    if final.path.exists() and not final.verify():
        return final
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    files.remove(final.path)
    part = files.temporary(final.path)
    files.remove(part)
    try:
        part.mkdir()
        write(part)
        _write_manifest(part, step, samples_seen)
        part.replace(final.path)
        files.sync(run.checkpoints)
    except BaseException:
        files.remove(part)
        raise
    files.write_text(run.latest, final.path.name + "\n")
    _prune(run, step, keep)
    return final


def versions() -> dict[str, str]:
    """Versions of what decides the numbers, read without importing any of it."""
    media = ("numpy", "pillow", "soundfile")
    names = ("torch", "torchaudio", "lightning", *media, "safetensors", "transformers")
    ours = {"python": platform.python_version(), "mmdiff": mmdiff.__version__}
    return ours | {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _write_manifest(folder: Path, step: int, samples_seen: int) -> None:
    """Syncs every file of ``folder`` and writes down what it holds."""
    facts = {}
    for path in sorted(folder.iterdir()):
        files.sync(path)
        facts[path.name] = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    manifest = {
        "format": 1,
        "step": step,
        "samples_seen": samples_seen,
        "versions": versions(),
        "files": facts,
    }
    text = json.dumps(manifest | {"sha256": _digest(manifest)}, indent=1)
    files.write_text(folder / "manifest.json", text)


def _digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's own content, so that a flipped byte in it is noticed too."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _compare(folder: Path, name: str, facts: Mapping[str, Any]) -> str | None:
    """What is wrong with one file of a checkpoint, or None."""
    path = folder / name
    if Path(name).name != name or not path.is_file():
        return f"{name}: missing"
    if (size := path.stat().st_size) != facts["bytes"]:
        return f"{name}: {size} bytes, expected {facts['bytes']}"
    return None if files.sha256(path) == facts["sha256"] else f"{name}: its bytes have changed"


def _prune(run: Run, step: int, keep: int) -> None:
    """Removes all but the ``keep`` newest; ones beyond ``step`` only survive if they verify."""
    names = run.checkpoint_names()
    stale = [name for name in names if (later := run.checkpoint(name)).step > step and later.verify()]
    valid = [name for name in names if name not in stale]
    for name in stale + valid[:-keep]:
        files.remove(run.checkpoints / name)


def _leaves(tree: Any, key: str = "") -> list[tuple[str, Any]]:
    """(dotted key, value) of everything in nested dicts."""
    if not isinstance(tree, dict):
        return [(key, tree)]
    return [leaf for name, value in tree.items() for leaf in _leaves(value, f"{key}.{name}" if key else name)]
