"""From a run and real data to a report: draw what the real samples are, and measure both."""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdiff.errors import UserError
from mmdiff.evaluation import clips, features, pictures, sounds
from mmdiff.evaluation.measure import Row, compare
from mmdiff.evaluation.real import Real, choose, source_of
from mmdiff.evaluation.report import Report
from mmdiff.generation.asked import Asked
from mmdiff.generation.engine import Engine
from mmdiff.generation.model import Model, guidance_of, unguided
from mmdiff.generation.pipeline import Pipeline, load, whole
from mmdiff.generation.request import Request
from mmdiff.metrics.trajectory import lawful
from mmdiff.modalities import Modality, heard
from mmdiff.naming import said, suggestion
from mmdiff.recipe import Recipe, Sampling
from mmdiff.run import versions

PITCHES = ("midi", "pitch")  # columns that hold pitches as MIDI numbers, where a run is conditioned on them


def evaluate(  # noqa: PLR0913  # each argument is a word of the command line
    run: str | Path,
    data: str | Path | None = None,
    n: int | None = None,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    guidance_by: Mapping[str, float] | None = None,
    seed: int = 0,
    pitch: str | None = None,
    embeddings: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Draws samples with the conditions of real ones, and measures how near they come.

    Sample `i` is the one that ``Pipeline.sample`` draws with these conditions, this seed and ``first=i``. Of
    what other files would lend, it is asked for the envelope, and for no style.

    Args:
        run: the run folder.
        data: a folder or a tar of real samples; may be None for a run on what code makes.
        n: how many to draw; 100, or half of the real ones where those are fewer than 200, when None.
        steps: of the sampler; as the run's recipe says when None.
        guidance: how strongly the conditions pull, and
        guidance_by: how strongly some of them do, as ``Pipeline.sample`` takes both.
        seed: chooses the real samples and the noise.
        pitch: the metadata column with the pitch as a MIDI number; when None that of the run's number
            condition on a column named midi or pitch, if it has one.
        embeddings: also compare what the network of the package aisfx sees; sounds only.
        progress: called after each network call with (rows done, rows in all).

    Raises:
        UserError: no run, no data, too few real samples, or a value that cannot be used.
    """
    whole("seed", seed, 0)
    pipeline = load(run)
    recipe, modality = pipeline.recipe, pipeline.model.modality
    _refuse(modality, pitch, embeddings)
    sampling = pipeline.settings(steps=steps, guidance=guidance, guidance_by=guidance_by)
    source, called = source_of(recipe, modality, None if data is None else Path(data))
    real = choose(source, called, recipe, pipeline.model, n, seed)
    column = pitch_column(recipe, real.columns, pitch) if modality.name == "audio" else None
    wishes = asked(pipeline.model, real)
    drawn, broken = draw(pipeline, wishes, sampling, seed, progress)
    rows = _JUDGES[modality.name](pipeline, drawn, real, seed, column, embeddings)
    facts = _facts(pipeline, sampling, called, len(drawn), seed)
    known = frozenset[str]().union(*(wish.names for wish in wishes))
    facts["guidance_by"] = {n: w for n, w in sorted(sampling.guidance_by.items()) if n in known}
    notes = [f"guidance by {name}: {weight:g}" for name, weight in facts["guidance_by"].items()]
    return Report(facts, rows, notes + _notes(recipe, real, called, broken, column))


def asked(model: Model, real: Real) -> list[Asked]:
    """The conditions of the twins, and their envelopes where a run takes these."""
    found = []
    for raw, twin in zip(real.asked, real.twins, strict=True):
        own = {name: heard(model.modality).envelope(twin) for name in model.curves}
        found.append(Asked.of(raw, own, model, model.modality))
    return found


def draw(
    pipeline: Pipeline,
    wishes: Sequence[Asked],
    sampling: Sampling,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, int]:
    """One sample for each set of conditions, packed, and how many were not finite; these are all zeros."""
    model, engine = pipeline.model, Engine(pipeline.model, pipeline.precision, pipeline.rows)
    program, shape, requests = model.program(sampling), model.modality.shape, list[Request]()
    for index, wish in enumerate(wishes):
        guidance = guidance_of(unguided(sampling) if wish.nothing else sampling, wish.names)
        shared = pipeline.recipe.diffusion.shared_noise
        requests.append(
            Request(shape, program, guidance, wish.raw, seed, index, curves=wish.curves, shared=shared)
        )
        engine.add(requests[-1])
    total, found = engine.outstanding, dict[Request, Tensor | None]()
    while len(engine):
        for finished in engine.tick():
            found[finished.request] = _packed(pipeline, finished.x0)
        if progress is not None:
            progress(engine.evaluations, total)
    good = [packed for packed in found.values() if packed is not None]
    if not good:
        raise UserError(f"{pipeline.origin.run}: draws nothing but numbers that are not finite")
    nothing = torch.zeros_like(good[0])
    each = [nothing if packed is None else packed for packed in map(found.__getitem__, requests)]
    return torch.stack(each), len(each) - len(good)


def _packed(pipeline: Pipeline, x0: Tensor) -> Tensor | None:
    """The sample as caches hold it; None when it is not finite."""
    modality = pipeline.model.modality
    try:
        return modality.pack(pipeline.model.decode(x0, modality))
    except ValueError:
        return None


def pitch_column(recipe: Recipe, rows: Sequence[Mapping[str, Any]], wanted: str | None) -> str | None:
    """The metadata column that holds pitches; None when pitch is no condition of the run.

    Raises:
        UserError: no sample has a number in the column that is wanted.
    """
    numbers = [spec.column or name for name, spec in recipe.conditions.items() if spec.kind == "number"]
    column = wanted or next((column for column in numbers if column in PITCHES), None)
    if column is not None and not any(math.isfinite(said(row.get(column))) for row in rows):
        if wanted is None:
            return None
        there = sorted({name for row in rows for name in row if math.isfinite(said(row[name]))})
        raise UserError(f"--pitch {wanted}: no sample has a number in that column{suggestion(wanted, there)}")
    return column


def _judged_sounds(
    pipeline: Pipeline, drawn: Tensor, real: Real, seed: int, column: str | None, embeddings: bool
) -> list[Row]:
    rate, asked = pipeline.recipe.data.sample_rate, None
    if column is not None:
        asked = torch.tensor([said(row.get(column)) for row in real.columns])
    twins = sounds.Sounds(real.twins, rate, asked)
    lines = sounds.measures(asked is not None, embeddings)
    others, made = sounds.Sounds(real.others, rate), sounds.Sounds(drawn, rate)
    return compare(lines, made, twins, others, sounds.ceilings(twins, seed), seed)


def _judged_pictures(
    pipeline: Pipeline, drawn: Tensor, real: Real, seed: int, column: str | None, embeddings: bool
) -> list[Row]:
    made, twins, others = map(pictures.Pictures.of, (drawn, real.twins, real.others))
    lines = pictures.measures(*drawn.shape[2:])
    return compare(lines, made, twins, others, pictures.ceilings(twins, seed), seed)


def _judged_clips(
    pipeline: Pipeline, drawn: Tensor, real: Real, seed: int, column: str | None, embeddings: bool
) -> list[Row]:
    fps = float(Fraction(pipeline.recipe.data.fps))
    told = any(spec.kind == "text" for spec in pipeline.recipe.conditions.values())
    known = real.columns if told and all(map(lawful, real.columns)) else None
    made, twins, others = (
        clips.Clips(packed.movedim(1, -1), fps, known) for packed in (drawn, real.twins, real.others)
    )
    lines = clips.measures(known is not None)
    return compare(lines, made, twins, others, clips.ceilings(twins, seed), seed)


_JUDGES = {"audio": _judged_sounds, "image": _judged_pictures, "video": _judged_clips}


def _refuse(modality: Modality, pitch: str | None, embeddings: bool) -> None:
    """Raises UserError for what cannot be measured of the samples of a run, before anything is drawn."""
    if modality.name == "video" and modality.shape[1] < 2:
        raise UserError("this run makes clips of one frame, in which there is no motion to be measured")
    for word, given in (("--pitch", pitch is not None), ("--embeddings", embeddings)):
        if given and modality.name != "audio":
            raise UserError(f"{word}: this run makes no sounds, which alone have it")
    if embeddings:
        features.require()


def _facts(pipeline: Pipeline, sampling: Sampling, data: str, n: int, seed: int) -> dict[str, Any]:
    """All that decides the numbers."""
    origin, modality = pipeline.origin, pipeline.model.modality
    return {
        "run": origin.run,
        "recipe": origin.recipe,
        "step": origin.step,
        "weights": origin.weights,
        "model_sha256": origin.sha256,
        "modality": modality.name,
        "noun": modality.noun,
        "size": modality.size,
        "data": data,
        "n": n,
        "seed": seed,
        "sampler": sampling.sampler,
        "grid": sampling.grid,
        "steps": sampling.steps,
        "guidance": sampling.guidance,
        "versions": versions(),
    }


def _notes(recipe: Recipe, real: Real, called: str, broken: int, column: str | None) -> list[str]:
    """What a reader must know beside the numbers."""
    notes = [f"pitches asked for: column {column}"] if column else []
    if recipe.data.path is not None and Path(called).resolve() == Path(recipe.data.path).resolve():
        notes.append("the run was trained on these: others judge it more sternly")
    if recipe.modality == "video":
        notes.append("frozen: the first frame of each goes on and on; jumbled: its frames in another order")
    if broken:
        notes.append(f"{broken} samples were not finite; they are judged as silence, or as black")
    if real.rejected:
        notes.append(f"{len(real.rejected)} real files cannot be used; the first: {real.rejected[0]}")
    known = {name for raw in real.asked for name in raw}
    if silent := [name for name in recipe.conditions if name not in known]:
        notes.append(f"conditions of the run that no twin asks for: {', '.join(silent)}")
    return notes
