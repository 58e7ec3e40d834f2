"""``mmdiff inspect``: how a file was made, or what a run holds."""

import argparse
import json
from pathlib import Path
from typing import Any

from mmdiff.commands.verb import Verb
from mmdiff.errors import UserError
from mmdiff.run import Checkpoint, Run


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="FILE", type=Path, help="a sample, a file or folder of frames; or a run or checkpoint"
    )


def run(args: argparse.Namespace) -> int:
    from mmdiff.data.clipfiles import frames_of

    path: Path = args.path
    if (path / "manifest.json").exists():
        found = checkpoint_facts(Checkpoint(path))
    elif path.is_dir() and not frames_of(path):
        found = run_facts(Run(path))
    else:
        found = provenance(path)
    print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


def provenance(path: Path) -> dict[str, Any]:
    """What a sample's file says about its making.

    Raises:
        UserError: no such file or folder of frames, or it holds no provenance.
    """
    from mmdiff.data.clipfiles import frames_of
    from mmdiff.modalities import MODALITIES

    if not path.is_file() and not frames_of(path):
        raise UserError(f"{path}: no such file or folder")
    readers = [
        modality
        for modality in MODALITIES.values()
        if (path.suffix.lower() in modality.suffixes if path.is_file() else "frames" in modality.formats)
    ]
    if not readers:
        known = ", ".join(
            sorted({suffix for modality in MODALITIES.values() for suffix in modality.suffixes})
        )
        raise UserError(f"{path}: expected a run folder, a checkpoint folder or a file of type {known}")
    found = next((told for reader in readers if (told := reader.read_provenance(path)) is not None), None)
    if found is None:
        raise UserError(
            f"{path}: holds no provenance, so mmdiff did not make it or another program has changed it"
        )
    return found


def run_facts(run: Run) -> dict[str, Any]:
    """The state of a run: its recipe in short, how far it is, and whether its checkpoints are sound."""
    recipe = run.recipe()
    checkpoints = [run.checkpoint(name) for name in run.checkpoint_names()]
    return {
        "run": str(run.path),
        "recipe": recipe.name,
        "modality": recipe.modality,
        "data": recipe.data.path or recipe.data.source,
        "conditions": {name: spec.kind for name, spec in recipe.conditions.items()},
        "steps": {
            "asked": recipe.training.steps,
            "saved": max((each.step for each in checkpoints), default=0),
        },
        "checkpoints": [checkpoint_facts(each) for each in checkpoints],
        "last_row": last_row(run),
    }


def checkpoint_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Step, samples seen and versions of a checkpoint, and what is wrong with it."""
    problems = checkpoint.verify()
    manifest = {} if problems else checkpoint.facts()
    told: dict[str, Any] = {key: manifest.get(key) for key in ("samples_seen", "versions", "files")}
    return {"checkpoint": str(checkpoint.path), "step": checkpoint.step, "problems": problems} | told


def last_row(run: Run) -> dict[str, Any] | None:
    """The last whole row of metrics.jsonl; a row that is being written is not one yet."""
    lines = run.metrics_jsonl.read_text().split("\n")[:-1] if run.metrics_jsonl.exists() else []
    return json.loads(lines[-1]) if lines else None


VERB = Verb(
    summary="say how a sample was made, or what a run holds",
    examples="""\
examples:
  mmdiff inspect out/red-heart-0-0.png
  mmdiff inspect runs/emoji
  mmdiff inspect runs/emoji/checkpoints/step-00001000

It prints JSON.
""",
    options=options,
    work=run,
)
