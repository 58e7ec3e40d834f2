"""What every reader of clips gives: frames one after the other, as they are shown."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import NamedTuple

from mmdiff.data.badfile import BadFile
from mmdiff.data.cliptags import ClipSize
from mmdiff.data.pictures import MOST_PIXELS, Picture


class Shown(NamedTuple):
    """One frame.

    Attributes:
        time: seconds from the first frame on at which it appears.
        lasts: seconds for which it is shown unless another one comes.
        picture: makes the pixels, upright and square, in RGB; nobody pays for those that nobody looks at.
    """

    time: Fraction
    lasts: Fraction
    picture: Callable[[], Picture]


class Film(NamedTuple):
    """A file that was opened.

    Attributes:
        shown: its frames in order of time, one held at a time; raises BadFile when they turn out broken.
        tick: seconds to which the file rounds times.
        rate: frames a second that the file claims, None when it does not.
        size: what our own writer says of the clip, None for other files.
        seconds: how long the file claims to last, None when it does not.
    """

    shown: Iterator[Shown]
    tick: Fraction
    rate: Fraction | None
    size: ClipSize | None
    seconds: Fraction | None = None


@contextmanager
def refusing(name: str, reason: str = "") -> Iterator[None]:
    """Whatever is raised inside, as a BadFile: decoders raise almost anything on damaged files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it then reads well
            yield
    except BadFile:
        raise
    except Exception as error:
        raise BadFile(name, reason or f"damaged: {type(error).__name__}") from None


def refuse_large(width: int, height: int, name: str) -> None:
    """Raises BadFile for frames of more pixels than any decoder should be asked for."""
    if width * height > MOST_PIXELS:
        raise BadFile(name, f"claims {width * height} pixels, more than the limit of {MOST_PIXELS}")
