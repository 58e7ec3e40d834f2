"""How a sample was made: a dict that travels in its file and is enough to make it again.

Everything in it belongs to this sample alone, so that a file does not depend on what was drawn beside it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

import mmdiff
from mmdiff.errors import UserError
from mmdiff.generation.given import Given
from mmdiff.generation.request import Request
from mmdiff.generation.windows import Windows
from mmdiff.recipe import Sampling

# What making a sample again takes, and the type it has.
NEEDED: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "model_sha256": str,
    "weights": str,
    "step": int,
    "prompt": str,
    "conditions": dict,
    "seed": int,
    "index": int,
    "sampler": str,
    "grid": str,
    "steps": int,
    "guidance": (int, float),
    "interval": (list, type(None)),
    "rescale": (int, float),
    "size": str,
    "precision": str,
    "rows": int,
}


@dataclass(frozen=True)
class Origin:
    """Where the weights of a model come from.

    Attributes:
        run: the run folder, as it was given.
        recipe: its name.
        sha256: of the file with the weights; None for weights that are in no file.
        weights: "ema" or "live".
        step: training steps behind them.
    """

    run: str
    recipe: str
    sha256: str | None
    weights: str
    step: int


@dataclass(frozen=True, eq=False)
class Wish:
    """A request in the words of the one who asked.

    Attributes:
        prompt: "" when there is none.
        conditions: the others by name.
        sampling: what the request's program and guidance were made from.
        request: of the first window.
        windows: how the sample is cut, and the file that it was made from, if any.
        sha256: of the files that conditions were measured from, by the name of the condition.
    """

    prompt: str
    conditions: Mapping[str, str]
    sampling: Sampling
    request: Request
    windows: Windows
    sha256: Mapping[str, str] = field(default_factory=dict)


def describe(wish: Wish, origin: Origin, precision: str, rows: int) -> dict[str, Any]:
    """The provenance of a sample, as JSON holds it; ``rows`` are those of a network call."""
    sampling, request, windows = wish.sampling, wish.request, wish.windows
    return {
        "mmdiff": mmdiff.__version__,
        "torch": str(torch.__version__),
        "run": origin.run,
        "recipe": origin.recipe,
        "model_sha256": origin.sha256,
        "weights": origin.weights,
        "step": origin.step,
        "prompt": wish.prompt,
        "conditions": dict(sorted(wish.conditions.items())),
        "seed": request.seed,
        "index": request.index,
        "sampler": sampling.sampler,
        "grid": sampling.grid,
        "steps": sampling.steps,
        "calls": request.program.calls,
        "guidance": sampling.guidance,
        "guidance_by": dict(sorted(sampling.guidance_by.items())),
        "interval": [b if math.isfinite(b) else str(b) for b in sampling.interval]
        if sampling.interval
        else None,
        "rescale": sampling.rescale,
        "size": windows.whole.size,
        "overlap": windows.overlap or None,
        "files": dict(sorted(wish.sha256.items())),
        "given": [source.given.describe() for source in windows.sources],
        "precision": precision,
        "rows": rows,
    }


def check(provenance: Mapping[str, Any]) -> None:
    """Raises UserError if something that making the sample again needs is missing or of another type."""
    if "samples" in provenance:
        raise UserError("provenance: a sheet of samples, of which any can be made again, but not all in one")
    for key, kind in NEEDED.items():
        if key not in provenance:
            raise UserError(f"provenance: {key!r} is missing, so the sample cannot be made again")
        if key == "model_sha256" and provenance[key] is None:
            raise UserError("provenance: the weights were never saved, so the sample cannot be made again")
        if not isinstance(provenance[key], kind) or isinstance(provenance[key], bool):
            raise UserError(f"provenance: {key!r} is {provenance[key]!r}, which no sample of ours has")
    given, overlap = provenance.get("given") or [], provenance.get("overlap")
    optional = {
        "files": isinstance(provenance.get("files", {}), dict),
        "overlap": overlap is None or isinstance(overlap, int),
        "given": isinstance(given, list) and all(map(Given.is_told, given)),
        "guidance_by": _are_weights(provenance.get("guidance_by", {})),
    }
    for key, good in optional.items():
        if not good:
            raise UserError(f"provenance: {key!r} is {provenance[key]!r}, which no sample of ours has")


def _are_weights(by: Any) -> bool:
    """Whether it is numbers by names."""
    return isinstance(by, dict) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) for weight in by.values()
    )


def sampling_of(provenance: Mapping[str, Any]) -> Sampling:
    """The sampling that a checked provenance tells of; nothing of it comes from a recipe."""
    told = {key: provenance[key] for key in ("sampler", "grid", "steps", "guidance", "rescale")}
    told["guidance_by"] = provenance.get("guidance_by", {})
    low_high = provenance["interval"] and tuple(map(float, provenance["interval"]))
    return Sampling(**told, interval=low_high or None, overlap=provenance.get("overlap"))
