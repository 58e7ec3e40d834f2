"""What a verb of the command line is, and the kinds of values that options take."""

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mmdiff.errors import UserError
from mmdiff.recipe import RATE, pixels

Number = TypeVar("Number", int, float)


def no_options(parser: argparse.ArgumentParser) -> None:
    """For a verb without options."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb: a line about it, examples, its options, and either its work or verbs of its own.

    Attributes:
        work: does it, importing what it needs only then, and returns the exit code.
    """

    summary: str
    examples: str = ""
    options: Callable[[argparse.ArgumentParser], None] = no_options
    work: Callable[[argparse.Namespace], int] | None = None
    verbs: Mapping[str, "Verb"] = field(default_factory=dict)


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, 1, "a whole number of at least 1")


def seed(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, int, 0, "a whole number of at least 0")


def scale(text: str) -> float:
    """A number of at least 0."""
    return _number(text, float, 0, "a number of at least 0")


def pull(text: str) -> tuple[str, float]:
    """W, of all conditions: their name is then ""; or NAME=W, of one."""
    name, equals, weight = text.rpartition("=")
    try:
        if bool(equals) == bool(name):
            return name, scale(weight)
    except argparse.ArgumentTypeError:
        pass
    expected = "expected W or NAME=W, W a number of at least 0"
    raise argparse.ArgumentTypeError(f"got {text!r}, {expected}")


def guided(parser: argparse.ArgumentParser) -> None:
    """Adds ``--guidance``."""
    parser.add_argument(
        "--guidance",
        action="append",
        default=[],
        type=pull,
        metavar="W",
        help="how strongly prompt and conditions pull, 1 is off; NAME=W, as text=2: how strongly one does "
        "where it is asked for; repeatable *",
    )


def pulls(given: Sequence[tuple[str, float]]) -> tuple[float | None, dict[str, float]]:
    """What ``--guidance`` asks for: the guidance of all, and that of some by name.

    Raises:
        UserError: one of them is given twice.
    """
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--guidance {name + '=' if name else ''}W: is given twice")
    by = dict(given)
    return by.pop("", None), by


def seconds(text: str) -> float:
    """A number above 0."""
    value = _number(text, float, 0, "a number above 0")
    if not value:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text, float, 0, "a number from 0 to 1")
    if value > 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to 1")
    return value


def size(text: str) -> str:
    """WIDTHxHEIGHT, checked."""
    try:
        pixels(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def folder(text: str) -> Path:
    """Where a verb may write: a folder, there or not yet."""
    there = next((part for part in (Path(text), *Path(text).parents) if part.exists()), Path())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there}: is a file, expected a folder")
    return Path(text)


def rate(text: str) -> str:
    """Frames a second, a whole number, a decimal or a fraction; checked."""
    if not re.fullmatch(RATE, text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected frames a second, such as 8 or 24000/1001")
    return text


def setting(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=VALUE")
    return name, value


def _number(text: str, kind: Callable[[str], Number], low: int, expected: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return value
