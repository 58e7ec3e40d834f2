"""What a clip's file says of itself, as JSON in its comment: its true size and rate, and how it was made.

Some kinds of files cannot hold an odd width, and a GIF knows no rate, only delays in hundredths of a second.
"""

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from mmdiff.recipe import RATE

KEY = "mmdiff clip"  # beside the keys of the provenance, of which none is so called
_SIZE = re.compile(rf"([1-9]\d{{0,8}})x([1-9]\d{{0,8}})x([1-9]\d{{0,8}})@({RATE})")


class ClipSize(NamedTuple):
    """How large a clip is: pixels, frames, and frames a second."""

    width: int
    height: int
    frames: int
    fps: Fraction

    def __str__(self) -> str:
        """For example 33x31x48@24000/1001."""
        return f"{self.width}x{self.height}x{self.frames}@{self.fps}"


def size_of(text: str) -> ClipSize | None:
    """The size that ``str`` of it gives again, or with a decimal rate; None when it is not of this form."""
    found = _SIZE.fullmatch(text)
    return ClipSize(int(found[1]), int(found[2]), int(found[3]), Fraction(found[4])) if found else None


def comment(size: ClipSize, provenance: Mapping[str, Any] | None) -> str:
    """The text for the comment of a file, ASCII."""
    told = str(size) if provenance is None else {**provenance, KEY: str(size)}
    return json.dumps(told, sort_keys=True)


def told(comment: str) -> tuple[ClipSize | None, dict[str, Any] | None]:
    """Size and provenance in the comment of a file; None for what others wrote."""
    try:
        found = json.loads(comment)
    except (ValueError, RecursionError):
        return None, None
    if isinstance(found, str):
        return size_of(found), None
    if not isinstance(found, dict):
        return None, None
    return size_of(str(found.pop(KEY, ""))), found
