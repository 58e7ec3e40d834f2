"""Before the first step: which samples there are, which are broken, what the recipe leaves to the data."""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmdiff import files
from mmdiff.conditions import Conditions, Style
from mmdiff.data.audit import audit, refuse_if_too_bad
from mmdiff.data.buckets import FACTS, nearest
from mmdiff.data.detune import Detune
from mmdiff.data.holdout import HoldOut, Trained
from mmdiff.data.library import Library
from mmdiff.data.made import MADE, made
from mmdiff.data.scan import Listing, scan
from mmdiff.data.source import Source
from mmdiff.errors import UserError
from mmdiff.generation.model import Model, check
from mmdiff.modalities import Heard, Modality, heard, modalities_of
from mmdiff.modalities.whitening import measured
from mmdiff.recipe import Recipe, pixels
from mmdiff.run import Run
from mmdiff.training.data import Positions, label

_RECORD = "data.json"
_MEASURED = 512  # samples that whitening is measured on: their errors are far below those of a short training

Checked = Callable[[int, int], None]  # files done, files in all


class DataChanged(UserWarning):
    """A run goes on with other files than it was started with."""


@dataclass(frozen=True)
class Prepared:
    """What training starts from.

    Attributes:
        recipe: with the label values that the data has.
        source: the samples.
        record: which files there are and which were rejected, for ``data.json`` and the next session.
        summary: lines for the person.
    """

    recipe: Recipe
    source: Source
    record: dict[str, Any]
    summary: tuple[str, ...]

    def remember(self, run: Run) -> None:
        """Writes ``data.json`` unless it says this already."""
        path, text = run.path / _RECORD, json.dumps(self.record, indent=1) + "\n"
        if not path.exists() or path.read_text() != text:
            files.write_text(path, text)


def prepare(recipe: Recipe, folder: Path, progress: Checked | None = None) -> Prepared:
    """Finds and checks the data of a recipe; ``progress`` hears of each file that is checked.

    Every file is decoded once, when the run is started; a later session trusts ``data.json`` in the run
    ``folder`` as long as names and metadata are the same.

    Raises:
        UserError: there is no data, or more than ``data.max_bad`` of it is broken.
    """
    modality, *others = modalities_of(recipe)
    if recipe.data.source in MADE:
        source: Source = made(recipe, recipe.training.seed)
        record: dict[str, Any] = {"source": recipe.data.source, "samples": len(source), "rejected": []}
        summary = [f"data: {len(source):,} {recipe.data.source} made by code, {modality.size}"]
    else:
        listing, record = _listing(recipe, modality, folder, progress)
        which = _buckets(recipe, listing, record)
        room = recipe.data.cache_mb // max(recipe.data.workers, 1)
        source = Library(listing, modality, room, others, which)
        counts = [f"{each.size}: {which.count(place):,}" for place, each in enumerate([modality, *others])]
        sizes = ", ".join(counts) if others else modality.size
        summary = [f"data: {recipe.data.path}: {len(source):,} samples, {sizes}"]
        rejected = record["rejected"]
        if rejected:
            first = f"{rejected[0]['file_name']}: {rejected[0]['reason']}"
            summary.append(
                f"      {len(rejected):,} rejected, all named in {folder / _RECORD}; the first: {first}"
            )
    if isinstance(modality, Heard) and not modality.lossless:
        best = "no sample can sound better than a recording that went through it"
        summary.append(f"      {recipe.data.representation} is lossy: {best}")
    recipe = fill_values(recipe, source)
    check(recipe)
    if recipe.data.hold_out is not None:
        every, source = len(source), Trained(source, HoldOut.parse(recipe.data.hold_out))
        summary.append(
            f"      {every - len(source):,} held out ({recipe.data.hold_out}) and never trained on"
        )
    refuse_values(recipe, source)
    return Prepared(recipe, source, record, tuple(summary))


def whiten(model: Model, data: Positions) -> None:
    """Sets what a new model whitens by, as the first positions show it; the same in every process.

    Channels then vary as much as they count to the ear. Equal ones give the lowest of eight kilohertz an
    eighth of the loss, and low tones were out of tune. What is measured of a style varies by one.
    """
    count = min(_MEASURED, len(data.source))
    if model.mean is not None and model.std is not None:
        windows = [data.window(position) for position in range(count)]
        mean, std = measured(
            (model.modality.unpack(packed) for packed, _ in windows),
            (None if valid is None else valid.sum().long() for _, valid in windows),
        )
        for buffer, values in ((model.mean, mean), (model.std, std.float() / heard(model.modality).gains)):
            buffer.copy_(values.reshape(buffer.shape))
    for name, references in data.references.items():
        styles = torch.stack([references.measured(data.place(position)) for position in range(count)])
        part = model.conditions.parts[name]
        assert isinstance(part, Style)
        for buffer, values in zip((part.mean, part.std), measured([styles.T]), strict=True):
            buffer.copy_(values)


def fill_values(recipe: Recipe, source: Source) -> Recipe:
    """Returns the recipe with the values of every label that leaves them open: what the data has, sorted.

    Raises:
        UserError: no sample has a value.
    """
    conditions = dict(recipe.conditions)
    for name, spec in recipe.conditions.items():
        if spec.kind != "label" or spec.values is not None:
            continue
        column = spec.column or name
        values = {label(source.columns(place), column) for place in range(len(source))} - {None}
        if not values:
            there = ", ".join(source.columns(0)) or "none"
            raise UserError(
                f"conditions.{name}: no sample has a value in column {column!r}; columns: {there}"
            )
        conditions[name] = dataclasses.replace(spec, values=tuple(sorted(map(str, values))))
    return dataclasses.replace(recipe, conditions=conditions)


def refuse_values(recipe: Recipe, source: Source) -> None:
    """Raises UserError if a label or number of a sample is none of its condition's.

    Nor may what a sound says when it is played as low as ``data.detune`` allows.
    """
    specs = {name: spec for name, spec in recipe.conditions.items() if spec.kind in ("label", "number")}
    detune = None if recipe.data.detune is None else Detune.parse(recipe.data.detune)
    numbers = {spec.column or name for name, spec in specs.items() if spec.kind == "number"}
    if detune is not None and detune.column not in numbers:
        raise UserError(f"data.detune: no condition of kind 'number' has the column {detune.column!r}")
    with torch.device("meta"):
        conditions = Conditions(specs)
    for place in range(len(source) if specs else 0):
        columns = source.columns(place)
        try:
            for told in (columns,) if detune is None else (columns, detune.told(columns, detune.most)):
                conditions.ids({name: label(told, spec.column or name) for name, spec in specs.items()})
        except UserError as error:
            raise UserError(f"{source.name(place)}: {error}") from None


def prompts(recipe: Recipe, source: Source, count: int = 8) -> list[tuple[str, dict[str, str]]]:
    """Returns (caption, values of the other conditions) of the grids drawn while training.

    The recipe's ``sampling.prompts`` with its ``sampling.conditions``; where it has none, ``count`` samples
    spread over the data say what they are.
    """
    wanted = dict(recipe.sampling.conditions)
    if recipe.sampling.prompts:
        return [(prompt, wanted) for prompt in recipe.sampling.prompts]
    specs = recipe.conditions.items()
    labels = [(name, spec.column or name) for name, spec in specs if spec.kind in ("label", "number")]
    said = any(spec.kind == "text" for spec in recipe.conditions.values())
    chosen = []
    for number in range(min(count, len(source))):
        columns = source.columns(number * len(source) // count if len(source) > count else number)
        own = {name: value for name, column in labels if (value := label(columns, column)) is not None}
        text = str(columns.get("text") or "") if said else ""
        chosen.append((text, own | wanted))
    return chosen


def _listing(
    recipe: Recipe, modality: Modality, folder: Path, progress: Checked | None
) -> tuple[Listing, dict[str, Any]]:
    """The good files, and the record of all."""
    if recipe.data.path is None:
        raise UserError("data.path: got nothing, expected a folder or a tar (--data PATH)")
    known = _known(folder)
    if known is not None:
        listing = scan(recipe.data.path, modality.suffixes, recipe.data.captions)
        bad = {row["file_name"] for row in known["rejected"]}
        good = dataclasses.replace(
            listing, entries=tuple(e for e in listing.entries if e.file_name not in bad)
        )
        if _fingerprint(good) == known["fingerprint"]:
            return good.beside(known.get("facts", {})), known
    found = audit(
        recipe.data.path, modality, recipe.data.max_bad, captions=recipe.data.captions, progress=progress
    )
    refuse_if_too_bad(found)
    good = found.listing
    if known is not None:
        now, before = len(good.entries), known["samples"]
        message = f"{recipe.data.path}: {now:,} samples, {before:,} when the run began; goes on with these"
        warnings.warn(message, DataChanged, stacklevel=2)
    facts = found.columns((recipe.columns | (FACTS if recipe.data.sizes else set())) & modality.measures)
    return good.beside(facts), {
        "path": str(recipe.data.path),
        "fingerprint": _fingerprint(good),
        "samples": len(good.entries),
        "rejected": [dataclasses.asdict(rejection) for rejection in found.rejected],
        "facts": facts,
    }


def _buckets(recipe: Recipe, listing: Listing, record: Mapping[str, Any]) -> list[int]:
    """Which of the recipe's sizes each file is nearest to, by what the audit measured."""
    sizes = list(map(pixels, recipe.data.every_size))
    if len(sizes) == 1:
        return [0] * len(listing.entries)
    shapes = [record["facts"][entry.file_name] for entry in listing.entries]
    return [nearest(sizes, shape["width"], shape["height"]) for shape in shapes]


def _known(folder: Path) -> dict[str, Any] | None:
    path = folder / _RECORD
    return json.loads(path.read_text()) if path.exists() else None


def _fingerprint(listing: Listing) -> str:
    """A hash of all names and captions in order: what decides which sample a position reads."""
    digest = hashlib.sha256()
    for entry in listing.entries:
        digest.update(json.dumps([entry.file_name, entry.columns], sort_keys=True, default=str).encode())
    return digest.hexdigest()
