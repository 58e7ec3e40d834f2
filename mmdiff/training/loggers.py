"""Where the numbers and the pictures of a run go: files always, W&B and TensorBoard where they are wanted.

The files are the record of the run and must be complete; the trackers are a convenience and may fail without
stopping anything.  Pictures, sounds and clips are handed over as files: wandb shows float tensors as black,
and needs moviepy to encode arrays.
"""

import csv
import importlib.util
import io
import json
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mmdiff import files, schema
from mmdiff.modalities import Modality, modality_of, plays
from mmdiff.recipe import Recipe
from mmdiff.run import Run

Row = Mapping[str, int | float]

COLUMNS = ("step", "samples_seen", "loss", "grad_norm", "learning_rate", "samples_per_second", "seconds")


def read_rows(run: Run) -> list[dict[str, Any]]:
    """Returns the logged rows; a line that a killed writer left half-written is not one."""
    if not run.metrics_jsonl.exists():
        return []
    rows = []
    for line in run.metrics_jsonl.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


class Files:
    """metrics.jsonl and metrics.csv: each logged step once, however often the run was interrupted.

    Args:
        run: the folder.
        step: where training goes on; rows beyond it, which will be computed again, are removed.
    """

    def __init__(self, run: Run, step: int) -> None:
        rows = [row for row in read_rows(run) if row["step"] <= step]
        files.write_text(run.metrics_jsonl, "".join(json.dumps(row) + "\n" for row in rows))
        files.write_text(run.metrics_csv, ",".join(COLUMNS) + "\n" + "".join(map(_csv, rows)))
        self._jsonl = run.metrics_jsonl.open("a")
        self._csv = run.metrics_csv.open("a")

    def row(self, row: Row) -> None:
        """Appends one row; it is in the files when this returns."""
        for file, line in ((self._jsonl, json.dumps(row) + "\n"), (self._csv, _csv(row))):
            file.write(line)
            file.flush()

    def close(self) -> None:
        """Closes both files."""
        self._jsonl.close()
        self._csv.close()


@runtime_checkable
class Tracker(Protocol):
    """A place outside the run's own files."""

    def row(self, row: Row) -> None:
        """Takes one row of numbers."""

    def picture(self, step: int, path: Path) -> None:
        """Takes the sample grid of a step, a PNG file."""

    def played(self, step: int, paths: Sequence[Path]) -> None:
        """Takes the samples of a step that can be played, sounds or clips; none of a run of pictures."""

    def close(self) -> None:
        """Sends what is left."""


class Wandb:
    """Weights & Biases, in the run's folder ``wandb``; offline when there is no key or no answer."""

    def __init__(self, run: Run, recipe: Recipe) -> None:
        import wandb

        self._wandb = wandb
        online = recipe.training.loggers != "wandb-offline" and has_key()
        try:
            self._run = self._start(run, recipe, "online" if online else "offline")
        except Exception:
            if not online:
                raise
            self._run = self._start(run, recipe, "offline")
        # W&B's own counter must rise, but a resumed run logs some steps again: our step is the axis
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def _start(self, run: Run, recipe: Recipe, mode: Any) -> Any:
        wandb = self._wandb
        quiet = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True, init_timeout=30)
        return wandb.init(
            project="mmdiff",
            name=run.path.name,
            id=_run_id(run),
            resume="allow",
            dir=str(run.path),
            mode=mode,
            config=schema.plain(recipe),
            settings=quiet,
        )

    def row(self, row: Row) -> None:
        """Logs one row of numbers."""
        self._run.log(dict(row))

    def picture(self, step: int, path: Path) -> None:
        """Logs a picture file."""
        self._run.log({"step": step, "samples": self._wandb.Image(str(path), caption=f"step {step}")})

    def played(self, step: int, paths: Sequence[Path]) -> None:
        """Logs the files as they are."""
        makers: dict[str, Any] = {"audio": self._wandb.Audio, "video": self._wandb.Video}
        media = [makers[plays(path.suffix)](str(path), caption=path.stem) for path in paths]
        if media:
            self._run.log({"step": step, "played": media})

    def close(self) -> None:
        """Ends this session of the W&B run; the next one continues it by its id."""
        self._run.finish()


class TensorBoard:
    """Event files in the run's folder ``tensorboard``."""

    def __init__(self, run: Run, step: int, modality: Modality) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._modality = modality
        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)

    def row(self, row: Row) -> None:
        """Logs one row of numbers."""
        for name in COLUMNS[2:]:
            self._writer.add_scalar(name, row[name], int(row["step"]))

    def picture(self, step: int, path: Path) -> None:
        """Logs a picture file."""
        import numpy
        from PIL import Image

        with Image.open(path) as picture:
            self._writer.add_image("samples", numpy.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def played(self, step: int, paths: Sequence[Path]) -> None:
        """Logs sounds, mixed to one channel, which is all that TensorBoard plays, and clips as GIFs.

        It shows these among the pictures, and they move. torch's writer makes them of arrays, with moviepy.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        for path in paths:
            sample = self._modality.read(path.read_bytes(), path.name)
            if self._modality.plays == "audio":
                wave = sample.value.mean(0)
                self._writer.add_audio(f"sounds/{path.stem}", wave, step, sample.sample_rate)
                continue
            gif = self._modality.to_bytes(sample, ".gif")
            _, height, width, _ = sample.value.shape
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif)
            summary = Summary(value=[Summary.Value(tag=f"clips/{path.stem}", image=image)])
            self._writer._get_file_writer().add_summary(summary, step)

    def close(self) -> None:
        """Flushes the event file."""
        self._writer.close()


class Trackers:
    """All trackers of a run; one that fails is warned of once and left out from then on."""

    def __init__(self, makers: Mapping[str, Callable[[], Tracker]]) -> None:
        self._trackers: dict[str, Tracker] = {}
        for name, make in makers.items():
            self._attempt(name, partial(self._add, name, make))

    def row(self, row: Row) -> None:
        """Hands a row to each."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, partial(tracker.row, row))

    def picture(self, step: int, path: Path) -> None:
        """Hands a picture to each."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, partial(tracker.picture, step, path))

    def played(self, step: int, paths: Sequence[Path]) -> None:
        """Hands samples that can be played to each."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, partial(tracker.played, step, paths))

    def close(self) -> None:
        """Closes each."""
        for name, tracker in list(self._trackers.items()):
            self._attempt(name, tracker.close)

    def _add(self, name: str, make: Callable[[], Tracker]) -> None:
        self._trackers[name] = make()

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever a tracker's server, disk or version does, training goes on
            self._trackers.pop(name, None)
            warnings.warn(f"{name} failed and is left out: {type(error).__name__}: {error}", stacklevel=2)


def trackers(run: Run, recipe: Recipe, step: int) -> Trackers:
    """Returns the trackers that the recipe's ``training.loggers`` asks for."""
    makers: dict[str, Callable[[], Tracker]] = {}
    if recipe.training.loggers != "files":
        makers["W&B"] = lambda: Wandb(run, recipe)
        if importlib.util.find_spec("tensorboard") is not None:
            makers["TensorBoard"] = lambda: TensorBoard(run, step, modality_of(recipe))
    return Trackers(makers)


def has_key() -> bool:
    """Whether a W&B key is on this machine; nothing is asked or sent."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def _run_id(run: Run) -> str:
    """The W&B id of this run folder, made once."""
    path = run.path / "wandb" / "id"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        files.write_text(path, uuid.uuid4().hex[:12])
    return path.read_text()


def _csv(row: Row) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([row.get(name, "") for name in COLUMNS])
    return line.getvalue()
