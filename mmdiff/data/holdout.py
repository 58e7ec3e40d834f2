"""Samples that training never sees, so that what a model makes of them can be judged honestly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmdiff.data.source import Source
from mmdiff.errors import UserError
from mmdiff.naming import said


@dataclass(frozen=True)
class HoldOut:
    """Every so-many-th value of one or several columns together.

    "midi/5" holds out every fifth pitch; "instrument+midi/5" every fifth pair, so that the pitch is trained
    with other instruments. Values count in order, numbers before words, and the ``n``-th is the first that is
    held out. A row without a value is never held out.
    """

    columns: tuple[str, ...]
    every: int

    @classmethod
    def parse(cls, spec: str) -> "HoldOut":
        """Reads ``COLUMN[+COLUMN...]/N``. Raises UserError."""
        columns, _, every = spec.rpartition("/")
        names = tuple(columns.split("+"))
        if not all(names) or not every.isdecimal() or int(every) < 2:
            expected = "expected COLUMN/N or COLUMN+COLUMN/N, such as midi/5, and N of 2 or more"
            raise UserError(f"data.hold_out: got {spec!r}, {expected}")
        return cls(names, int(every))

    def held(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Which of all rows are held out.

        Raises:
            UserError: there are fewer than N values.
        """
        values = [tuple(_value(row.get(column)) for column in self.columns) for row in rows]
        known = {value for value in values if not {None, ""} & set(value)}
        ordered = sorted(known, key=lambda value: list(map(_rank, value)))
        if len(ordered) < self.every:
            what = "+".join(self.columns)
            raise UserError(
                f"data.hold_out: {what!r} has {len(ordered)} values, expected {self.every} or more"
            )
        chosen = set(ordered[self.every - 1 :: self.every])
        return [value in chosen for value in values]


def _value(part: object) -> object:
    """Numbers and words as they are, lists and the like as their text."""
    return part if part is None or isinstance(part, str | int | float) else str(part)


def _rank(part: object) -> tuple[bool, float, str]:
    """Numbers in order, also those that CSV gives as words, then words."""
    number = said(part)
    word = math.isnan(number)
    return word, 0.0 if word else number, str(part)


class Trained:
    """The samples of a source that are not held out."""

    def __init__(self, source: Source, hold_out: HoldOut) -> None:
        self.source = source
        held = hold_out.held([source.columns(index) for index in range(len(source))])
        self.places: Sequence[int] = [index for index, out in enumerate(held) if not out]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, Mapping[str, Any]]:
        return self.source[self.places[index]]

    def part(self, index: int, place: float) -> Tensor:
        """What a window of a sample is cut from."""
        return self.source.part(self.places[index], place)

    def bucket(self, index: int) -> int:
        """Which size a sample has."""
        return self.source.bucket(self.places[index])

    def name(self, index: int) -> str:
        """What messages call the sample."""
        return self.source.name(self.places[index])

    def columns(self, index: int) -> Mapping[str, Any]:
        """The metadata of a sample."""
        return self.source.columns(self.places[index])
