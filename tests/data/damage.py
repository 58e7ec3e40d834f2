"""Damaged files, and what a refusal of one must be."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mmdiff.data.badfile import BadFile


def wounded(data: bytes, wounds: Sequence[tuple[int, bytes]]) -> bytes:
    """The bytes with others in their place here and there."""
    found = bytearray(data)
    for where, patch in wounds:
        at = where % len(data)
        found[at : at + len(patch)] = patch
    return bytes(found)


def refused(read: Callable[[bytes, str], Any], data: bytes, name: str) -> None:
    """Refuses by the whole name, with a reason of one line shorter than 80 characters."""
    with pytest.raises(BadFile) as caught:
        read(data, f"some/{name}")
    assert caught.value.name == f"some/{name}"
    assert 0 < len(caught.value.reason) < 80
    assert "\n" not in str(caught.value)
