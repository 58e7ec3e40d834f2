"""Real samples to compare with: twins, whose conditions are asked for, and as many others much like them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdiff import counter
from mmdiff.data.audit import examine
from mmdiff.data.badfile import BadFile
from mmdiff.data.library import Library
from mmdiff.data.made import MADE, made
from mmdiff.data.scan import scan
from mmdiff.data.source import Source
from mmdiff.errors import UserError
from mmdiff.evaluation.alike import Alike, Raw
from mmdiff.generation.model import Model
from mmdiff.modalities import Modality, Moving
from mmdiff.recipe import Recipe

DEFAULT, FEWEST = 100, 4  # samples; with fewer than four there is no interval
_SPOKEN = ("text", "label", "number")  # kinds of condition whose value a metadata column holds
_POOL = 10_000  # samples among which the others are looked for


@dataclass(frozen=True, eq=False)
class Real:
    """What generated samples are compared with.

    Attributes:
        twins: packed windows, all of one shape.
        others: further ones; each has as much in common with its twin as can be.
        asked: the conditions of the twins.
        columns: their metadata rows.
        rejected: files that could not be used, with their reason.
    """

    twins: Tensor
    others: Tensor
    asked: Sequence[Raw]
    columns: Sequence[Mapping[str, Any]]
    rejected: Sequence[str]


def source_of(recipe: Recipe, modality: Modality, data: Path | None) -> tuple[Source, str]:
    """The real samples, and what they are called.

    Args:
        recipe: of the run.
        modality: at the size of the training.
        data: a folder or a tar; None for a run on what code makes: the same made anew, from another seed.

    Raises:
        UserError: there are none.
    """
    settings = recipe.data
    if data is not None:
        listing = scan(data, modality.suffixes, settings.captions)
        if names := recipe.columns & modality.measures:
            listing = listing.beside(examine(listing, modality).columns(names))
        return Library(listing, modality, settings.cache_mb), str(data)
    if settings.source not in MADE:
        raise UserError(f"--data: got nothing, expected a folder or a tar of real {modality.noun}")
    seed = recipe.training.seed + 1
    return made(recipe, seed), f"{settings.source} made by code with seed {seed}"


def choose(source: Source, called: str, recipe: Recipe, model: Model, n: int | None, seed: int) -> Real:
    """Twins that the seed chooses, and the others.

    Args:
        source: where from.
        called: what messages call it.
        recipe: of the run.
        model: of the run; its conditions are those that a twin must be able to ask for.
        n: how many twins; None for 100, or half of the samples where those are fewer than 200.
        seed: chooses.

    Raises:
        UserError: too few samples, or one with a condition that the run does not know.
    """
    noun, count = model.modality.noun, _count(len(source), called, model.modality.noun, n)
    reader = _Reader(source, recipe, model, seed)
    order = iter(counter.permutation(seed, "twins", size=len(source)))
    twins = list(reader.read(order, count))
    asked = [reader.asked(index) for index, _ in twins]
    others = _others(reader, asked, list(itertools.islice(order, _POOL)), recipe)
    count = min(len(twins), len(others)) if n is None else count
    if min(len(twins), len(others)) < count or count < FEWEST:
        first = f"; the first: {rejected[0]}" if (rejected := list(reader.rejected.values())) else ""
        raise UserError(
            f"{called}: not enough {noun} can be used for {count} twins and as many others{first}"
        )
    return Real(
        torch.stack([window for _, window in twins[:count]]),
        torch.stack(others[:count]),
        asked[:count],
        [source.columns(index) for index, _ in twins[:count]],
        list(reader.rejected.values()),
    )


def _others(reader: "_Reader", twins: Sequence[Raw], pool: Sequence[int], recipe: Recipe) -> list[Tensor]:
    """For each twin in turn the usable sample that shares most with it and is not taken yet."""
    numbers = [name for name, spec in recipe.conditions.items() if spec.kind == "number"]
    alike, taken, found = Alike([reader.asked(index) for index in pool], numbers), set[int](), list[Tensor]()
    for twin in twins:
        near = (pool[place] for place in alike.order(twin))
        free = (index for index in near if index not in taken and index not in reader.rejected)
        for index, window in reader.read(free, 1):
            taken.add(index)
            found.append(window)
    return found


def _count(there: int, called: str, noun: str, n: int | None) -> int:
    """How many twins. Raises UserError if there cannot be so many."""
    if n is None:
        n = min(DEFAULT, there // 2)
        if n < FEWEST:
            raise UserError(f"{called}: holds {there} {noun}, expected {2 * FEWEST} or more")
    if n < FEWEST:
        raise UserError(f"-n {n}: expected {FEWEST} or more, since an interval needs as many")
    if 2 * n > there:
        most = f"at most {there // 2}, half of the {there} {noun} of {called}"
        raise UserError(f"-n {n}: expected {most}: as many others are their floor")
    return n


@dataclass
class _Reader:
    """Reads windows and conditions of a source, and keeps what could not be read."""

    source: Source
    recipe: Recipe
    model: Model
    seed: int
    rejected: dict[int, str] = field(default_factory=dict)

    def read(self, order: Iterator[int], count: int) -> Iterator[tuple[int, Tensor]]:
        """The first usable ones, each with its index."""
        modality = self.model.modality
        while count:
            index = next(order, None)
            if index is None:
                return
            place = counter.uniform(self.seed, "window", index)
            try:
                packed = self.source.part(index, place)
            except BadFile as error:
                self.rejected[index] = str(error)
                continue
            if isinstance(modality, Moving) and not modality.moves(packed):
                self.rejected[index] = f"{self.source.name(index)}: a picture, in which nothing moves"
                continue
            yield index, modality.window(packed, place)[0]
            count -= 1

    def asked(self, index: int) -> Raw:
        """The conditions of a sample. Raises UserError for one that the run does not know."""
        columns, found = self.source.columns(index), dict[str, str]()
        for name, spec in self.recipe.conditions.items():
            column = "text" if spec.kind == "text" else spec.column or name
            value = columns.get(column) if spec.kind in _SPOKEN else None
            if value not in (None, ""):
                found[name] = str(value)
        try:
            self.model.conditions.ids(found)
        except UserError as error:
            raise UserError(f"{self.source.name(index)}: {error}") from None
        return found
