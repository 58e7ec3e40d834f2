"""A measure of a set of samples, and the table of what it says of the drawn, of the real and of nonsense."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmdiff import counter
from mmdiff.metrics.intervals import Figure, bootstrap, halves, wilson


@runtime_checkable
class Many(Protocol):
    """Samples of one shape, in order."""

    def rolled(self) -> Any:
        """The same, each in the place of the one after it."""


S = TypeVar("S", bound=Many)


class Kind(Enum):
    """What a sample is compared with."""

    ASKED = "what was asked for"
    TWIN = "the real sample with the same conditions"
    ITSELF = "nothing: the figure of real samples is the aim"
    SET = "all real samples together"


@dataclass(frozen=True)
class Measure(Generic[S]):
    """One line of a report.

    Attributes:
        name: at most 24 characters.
        unit: with the direction that is better.
        kind: what a sample is compared with, and so what its floor is and whether shuffling means anything.
        figure: (samples to be judged, real twins, dice) -> the figure with its interval.
    """

    name: str
    unit: str
    kind: Kind
    figure: Callable[[S, S, torch.Generator], Figure]


@dataclass(frozen=True)
class Row:
    """What a measure says, by column of the report; a column that has no meaning for it is not there."""

    name: str
    unit: str
    kind: Kind
    figures: Mapping[str, Figure]


def compare(
    measures: Sequence[Measure[S]], drawn: S, twins: S, others: S, ceilings: Mapping[str, S], seed: int
) -> list[Row]:
    """Judges what was drawn beside its floor and its ceilings.

    The floor is what real samples get: the twins where each is judged for itself or by what was asked, else
    the others, judged as if they had been drawn. Since they are like the twins, a distance of sets can come
    out a little below 0, as it would for a perfect model. The ceilings are the sets of that name, in place of
    what was drawn; and, where it means anything, "shuffled": each drawn sample beside the twin of another.

    Args:
        measures: the lines.
        drawn: as many as there are twins, in their order.
        twins: real samples, with what was asked for.
        others: as many further real ones, which have much in common with the twins in their order.
        ceilings: by name.
        seed: of the resamples.
    """
    rows = []
    for number, measure in enumerate(measures):
        own = measure.kind in (Kind.ASKED, Kind.ITSELF)
        sides = {"generated": (drawn, twins), "floor": (twins if own else others, twins)}
        sides |= {name: (ceiling, twins) for name, ceiling in ceilings.items()}
        if measure.kind in (Kind.ASKED, Kind.TWIN):
            sides["shuffled"] = (drawn, twins.rolled())
        figures = {
            column: measure.figure(judged, truth, counter.generator(seed, "resamples", number, place))
            for place, (column, (judged, truth)) in enumerate(sides.items())
        }
        rows.append(Row(measure.name, measure.unit, measure.kind, figures))
    return rows


def averaged(
    values: Callable[[S, S], Float[Tensor, " n"]], statistic: Callable[[Tensor], Tensor] = torch.mean
) -> Callable[[S, S, torch.Generator], Figure]:
    """The figure of a number that each sample has: its mean, or another statistic, with a bootstrap."""
    return lambda judged, twins, dice: bootstrap(values(judged, twins), dice, statistic)


def percent(
    right: Callable[[S, S], Bool[Tensor, " n"]],
) -> Callable[[S, S, torch.Generator], Figure]:
    """The figure of what a sample is or is not: the share of those that are, in percent, by Wilson."""

    def figure(judged: S, twins: S, dice: torch.Generator) -> Figure:
        found = right(judged, twins)
        rate = wilson(int(found.sum()), len(found))
        return Figure(100 * rate.share, 100 * rate.low, 100 * rate.high, rate.trials)

    return figure


def apart(
    features: Callable[[S, S], tuple[Tensor, Tensor]],
    distance: Callable[[Tensor, Tensor], float],
    unit: float = 1.0,
) -> Callable[[S, S, torch.Generator], Figure]:
    """The figure of a distance of two sets, whose rows are the samples' features, by halves.

    Args:
        features: (judged, twins) -> the rows of either.
        distance: of any rows of the two.
        unit: the figure is in parts of it.
    """
    return lambda judged, twins, dice: halves(
        *features(judged, twins), dice, lambda x, y: distance(x, y) / unit
    )
