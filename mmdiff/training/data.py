"""From global positions to batches: every number of a batch is a function of (seed, position).

Position 0, 1, 2, ... counts the samples that a run has seen, over all epochs and all processes.  The position
says which sample is read (through the epoch's permutation), which part of a long one, which noise is drawn,
which conditions are withheld and whether a picture is mirrored.  So a run is resumed by one number, any
number of loader workers gives the same batches, and ``w`` processes that each take every ``w``-th position
see together what one would see.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mmdiff import counter
from mmdiff.conditions import ALIGNED, Conditions, Value
from mmdiff.data.detune import WHOLE, Detune
from mmdiff.data.source import Source
from mmdiff.modalities import Modality, Moving, heard, modalities_of
from mmdiff.recipe import ConditionSpec, Recipe
from mmdiff.training.known import known
from mmdiff.training.order import Buckets
from mmdiff.training.signals import ignore_in_worker


class Batch(NamedTuple):
    """What one training step needs; the random parts are drawn already.

    ``x0`` is not whitened yet. ``valid`` is 1 where it is sample and 0 where it is padding; None: all sample.
    ``given`` is where the sample is known, and ``curves`` what runs along with it; None in a run without.
    ``moving`` is false for pictures among clips; None when there are none.
    """

    x0: Float[Tensor, "b *shape"]
    eps: Float[Tensor, "b *shape"]
    ids: dict[str, Tensor]
    present: dict[str, Bool[Tensor, " b"]]
    position: Int64[Tensor, " b"]
    valid: Float[Tensor, "b 1 *axes"] | None = None
    given: Bool[Tensor, "b 1 *axes"] | None = None
    curves: Float[Tensor, "b e *axes"] | None = None
    moving: Bool[Tensor, " b"] | None = None


class Endless(Sampler[int]):
    """The global positions of one process, without end: ``start + rank``, then every ``world``-th one."""

    def __init__(self, start: int, rank: int = 0, world: int = 1) -> None:
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[int]:
        position = self.start + self.rank
        while True:
            yield position
            position += self.world


class Parts(NamedTuple):
    """What a position gives, as a batch of one but for ``packed``; see ``Batch``."""

    packed: Tensor
    eps: Tensor
    ids: dict[str, Tensor]
    present: dict[str, Tensor]
    position: int
    valid: Tensor | None
    given: Tensor | None
    curves: Tensor | None
    moving: bool


class Positions(Dataset[Parts]):
    """Maps a global position to what is trained there.

    Args:
        source: the samples.
        conditions: turns captions and labels into ids; only its ``ids`` and ``present`` are used.
        recipe: what is withheld and mirrored, and the seed.
    """

    def __init__(self, source: Source, conditions: Conditions, recipe: Recipe) -> None:
        self.source, self.conditions, self.recipe = source, conditions, recipe
        self.modalities = modalities_of(recipe)
        self.buckets = Buckets(list(map(source.bucket, range(len(source)))), recipe.training.batch_size)
        spec = recipe.data.detune
        self.detune = None if spec is None else Detune.parse(spec)
        self.references = {
            name: References(source, spec.column, self.modalities[0].style)
            for name, spec in recipe.conditions.items()
            if spec.kind == "style"
        }

    def __getitem__(self, position: int) -> Parts:
        seed, modality = self.recipe.training.seed, self.modality(position)
        whole, part = self._whole(position)
        packed, valid = modality.window(whole, part)
        moving = not isinstance(modality, Moving) or modality.moves(whole)
        if self.recipe.data.flip and counter.uniform(seed, "flip", position) < 0.5:
            packed = packed.flip(-1)
        shared = self.recipe.diffusion.shared_noise if moving else 0.0
        eps = counter.normal(seed, "noise", position, shape=modality.shape, shared=shared)
        raw = self._raw(self._columns(position), position)
        ids, present = self.conditions.ids(raw), self.conditions.present(raw)
        given, curves = self.given(position, valid), self.curves(position, packed)
        return Parts(packed, eps, ids, present, position, valid, given, curves, moving)

    def window(self, position: int) -> tuple[Tensor, Tensor | None]:
        """What a position sees of its sample, packed, and where that is no padding."""
        return self.modality(position).window(*self._whole(position))

    def modality(self, position: int) -> Modality:
        """The modality at the size of a position's sample."""
        return self.modalities[self.buckets.which[self.place(position)]]

    def _whole(self, position: int) -> tuple[Tensor, float]:
        """The sample of a position as far as its window needs it, and which window that is."""
        part = counter.uniform(self.recipe.training.seed, "window", position)
        whole = self.source.part(self.place(position), part)
        if self.detune is not None:
            whole = heard(self.modality(position)).slowed(whole, WHOLE, self._slowed(self.detune, position))
        return whole, part

    def _columns(self, position: int) -> Mapping[str, Any]:
        """What the metadata say of a position's sample, as it is played."""
        columns = self.source.columns(self.place(position))
        return (
            columns if self.detune is None else self.detune.told(columns, self._slowed(self.detune, position))
        )

    def _slowed(self, detune: Detune, position: int) -> int:
        """How many samples WHOLE of a position's sample become."""
        return detune.samples(counter.uniform(self.recipe.training.seed, "detune", position))

    def given(self, position: int, valid: Tensor | None) -> Tensor | None:
        """Where a position's sample is known; None in a run that takes nothing as given."""
        training, axes = self.recipe.training, self.modality(position).shape[1:]
        if not training.given:
            return None
        mask = torch.zeros(1, *axes, dtype=torch.bool)
        if counter.uniform(training.seed, "given", position) < training.given:
            # Padding is whole positions at the end of a series, and whole frames at that of a clip
            held = axes if valid is None else (int(valid.sum()) // math.prod(axes[1:]), *axes[1:])
            mask[:, : held[0]] = known(training.seed, position, held)
        return mask

    def curves(self, position: int, packed: Tensor) -> Tensor | None:
        """What runs along with a window, each as its values and ones, or as zeros where it is withheld."""
        names = [name for name, spec in self.recipe.conditions.items() if spec.kind in ALIGNED]
        if not names:
            return None
        curve = heard(self.modality(position)).envelope(packed)
        both = torch.cat([curve, torch.ones_like(curve)])
        return torch.cat([both * (not self._withheld(name, position)) for name in names])

    def place(self, position: int) -> int:
        """Returns which sample of the source a position reads."""
        return self.buckets.place(self.recipe.training.seed, position)

    def _raw(self, columns: Mapping[str, Any], position: int) -> dict[str, Value | None]:
        """What the sample is called in each condition; None where that is unknown or withheld."""
        return {
            name: None if self._withheld(name, position) else self._value(name, spec, columns, position)
            for name, spec in self.recipe.conditions.items()
            if spec.kind not in ALIGNED
        }

    def _withheld(self, name: str, position: int) -> bool:
        """Whether a condition is dropped.

        Half of the smallest dropout comes from one draw that all share, so that the branch without any
        condition, which guidance needs, is learned. The rest of each is its own, so that every condition is
        seen without the others.
        """
        seed, conditions = self.recipe.training.seed, self.recipe.conditions
        together = min(spec.dropout for spec in conditions.values()) / 2
        alone = (conditions[name].dropout - together) / (1 - together)
        return (
            counter.uniform(seed, "dropout", position) < together
            or counter.uniform(seed, f"dropout of {name}", position) < alone
        )

    def _value(
        self, name: str, spec: ConditionSpec, columns: Mapping[str, Any], position: int
    ) -> Value | None:
        if spec.kind == "text":
            return self._caption(columns, position)
        if spec.kind == "style":
            dice = counter.uniform(self.recipe.training.seed, f"reference of {name}", position)
            return self.references[name].of(self.place(position), dice)
        return label(columns, spec.column or name)

    def _caption(self, columns: Mapping[str, Any], position: int) -> str | None:
        data, seed = self.recipe.data, self.recipe.training.seed

        def one(kind: str, texts: Sequence[str], share: float = 1.0) -> str | None:
            """One of the texts, in a share of the positions."""
            if not texts or counter.uniform(seed, kind, position) >= share:
                return None
            return str(texts[int(counter.uniform(seed, f"which {kind}", position) * len(texts))])

        def listed(column: str | None) -> Sequence[str]:
            found = columns.get(column) if column else None
            if found is None or found == "":
                return ()
            return found if isinstance(found, list) else [str(found)]

        alternative = one("alternative", listed(data.alternatives), data.alternative_share)
        text, tag = alternative or columns.get("text"), one("tag", listed(data.tags))
        phrase = one("phrase", data.phrases, data.phrase_share)
        if text and phrase and (tag or "{tag}" not in phrase):
            return phrase.replace("{tag}", tag or "").replace("{text}", text)
        return text or None


class References:
    """Samples that lend their style to others: those that share a column's value, or each to itself."""

    def __init__(self, source: Source, column: str | None, style: Callable[[Tensor], Tensor]) -> None:
        self.source, self.column, self.style = source, column, style
        self._measured: dict[int, Tensor] = {}
        self._alike: dict[str | None, list[int]] = {}
        for index in range(len(source)):
            if (key := self._key(index)) is not None:
                self._alike.setdefault(key, []).append(index)

    def of(self, index: int, dice: float) -> Tensor:
        """The style of a sample that is alike; ``dice``, from 0 to below 1, says which."""
        alike = self._alike.get(self._key(index), [index])
        return self.measured(alike[int(dice * len(alike))])

    def measured(self, index: int) -> Tensor:
        """The style of a sample."""
        if index not in self._measured:
            self._measured[index] = self.style(self.source.part(index, 0.5))
        return self._measured[index]

    def _key(self, index: int) -> str | None:
        return label(self.source.columns(index), self.column) if self.column else None


def label(columns: Mapping[str, Any], column: str) -> str | None:
    """Returns a metadata value as the text that labels are compared by; None when it is missing or empty."""
    value = columns.get(column)
    return None if value is None or value == "" else str(value)


def collate(parts: Sequence[Parts], unpack: Callable[[Tensor], Tensor]) -> Batch:
    """Stacks the parts of several samples."""
    packed, eps, ids, present, position, valid, given, curves, moving = zip(*parts, strict=True)
    return Batch(
        unpack(torch.stack(packed)),
        torch.stack(eps),
        {name: torch.stack([row[name] for row in ids]) for name in ids[0]},
        {name: torch.stack([row[name] for row in present]) for name in present[0]},
        torch.tensor(position, dtype=torch.int64),
        _masks(valid),
        _masks(given),
        _masks(curves),
        None if all(moving) else torch.tensor(moving),
    )


def _masks(valid: Sequence[Tensor | None]) -> Tensor | None:
    """The masks of several samples as one; None when none has any."""
    some = next((mask for mask in valid if mask is not None), None)
    if some is None:
        return None
    return torch.stack([torch.ones_like(some) if mask is None else mask for mask in valid])


class DataModule(LightningDataModule):
    """Feeds each process its share of every global batch, from the global position ``start`` on."""

    def __init__(self, positions: Positions, unpack: Callable[[Tensor], Tensor], start: int) -> None:
        super().__init__()
        self.positions, self.unpack, self.start = positions, unpack, start

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the endless loader of this process."""
        assert self.trainer is not None
        world, training = self.trainer.world_size, self.positions.recipe.training
        return DataLoader(
            self.positions,
            batch_size=training.batch_size // world,
            sampler=Endless(self.start, self.trainer.global_rank, world),
            num_workers=self.positions.recipe.data.workers,
            collate_fn=partial(collate, unpack=self.unpack),
            worker_init_fn=ignore_in_worker,
            pin_memory=torch.cuda.is_available(),
        )
