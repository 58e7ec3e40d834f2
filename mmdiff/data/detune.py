"""Sounds played lower than they are, so that a model hears more pitches than a folder has."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmdiff.errors import UserError
from mmdiff.naming import said

WHOLE = 160  # samples that become WHOLE or more: steps of about ten cents, at the price of a short filter


@dataclass(frozen=True)
class Detune:
    """Slows half of all sounds by up to so many semitones; a column, their MIDI pitch, then says so.

    Slower and never faster, because what is left of a sound that is played faster would not fill its window.
    Half of them, because pitches that are really asked for are those of the folder.
    """

    column: str
    semitones: float

    @classmethod
    def parse(cls, spec: str) -> "Detune":
        """Reads ``COLUMN/SEMITONES``. Raises UserError."""
        column, _, semitones = spec.rpartition("/")
        if not column or not 0 < said(semitones) <= 12:
            expected = "expected COLUMN/SEMITONES, such as midi/1, and SEMITONES above 0, at most 12"
            raise UserError(f"data.detune: got {spec!r}, {expected}")
        return cls(column, said(semitones))

    @property
    def most(self) -> int:
        """How many samples WHOLE of them become at most."""
        return math.floor(WHOLE * 2 ** (self.semitones / 12))

    def samples(self, dice: float) -> int:
        """How many samples WHOLE of them become; ``dice``, 0 to below 1, chooses, below 1/2 just as many."""
        return WHOLE + int(max(0.0, 2 * dice - 1) * (self.most - WHOLE + 1))

    def told(self, columns: Mapping[str, Any], samples: int) -> Mapping[str, Any]:
        """The columns of a sound that is played so; those of one without a pitch are as they were."""
        pitch = said(columns.get(self.column))
        if math.isnan(pitch):
            return columns
        return {**columns, self.column: pitch + 12 * math.log2(WHOLE / samples)}
