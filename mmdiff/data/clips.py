"""Any clip to uint8 RGB frames: as they are, or at a constant rate, and all of it or a window.

A file that holds frames at uneven times is shown, at a constant rate, as a player would: each moment shows
the frame that came last. The moment of frame ``k`` is ``(k + 1/4) / fps``: a quarter of a frame late, so that
files which round their times (WebM to thousandths of a second, GIF to hundredths) lose and double no frame,
and yet the first frame is the first.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from mmdiff.data import animations, films, sequences, whole, wholesound
from mmdiff.data.badfile import BadFile
from mmdiff.data.pictures import Picture
from mmdiff.data.shown import Film, Shown, refusing

MOST_BYTES = 1 << 30  # of the frames that are kept; decided while they are read
_LATE = Fraction(1, 4)  # of a frame
_USUAL = Fraction(24)  # frames a second, of folders of pictures
Frames = UInt8[np.ndarray, "f h w 3"]
Shape = Callable[[Picture], Picture]


@dataclass(frozen=True)
class Facts:
    """What a file holds.

    Attributes:
        width: of a frame as it is shown, upright and with square pixels; height likewise.
        times: seconds at which each frame appears, from 0.
        seconds: until the end of the last frame.
        fps: frames a second; where they come unevenly, their mean, rounded.
    """

    width: int
    height: int
    times: tuple[Fraction, ...]
    seconds: Fraction
    fps: Fraction


class Clip(NamedTuple):
    """Frames of a file, and what the file holds itself."""

    frames: Frames
    facts: Facts


def decoded(data: bytes, name: str, fps: Fraction | None = None, shape: Shape | None = None) -> Clip:
    """The clip in the bytes of a file; every frame is decoded, and only what is returned is held.

    Args:
        fps: frames a second of the result; None: every frame once, whenever it is shown.
        shape: applied to every frame that is kept, such as what scales it down.

    Raises:
        BadFile: whatever is wrong with the file.
    """
    film = opened(data, name, rate=fps)
    log = _Log(film.shown, shape)
    frames = _stacked(log if fps is None else held(log, fps), name, log.shape)
    return Clip(frames, log.facts(film))


def window(
    data: bytes,
    name: str,
    fps: Fraction,
    start: Fraction,
    count: int,
    shape: Shape | None = None,
) -> Frames:
    """``count`` frames of ``decoded`` at ``fps`` from ``start`` seconds on, or fewer where the clip ends.

    Decoding starts at the key frame before. Whether the rest of the file is whole is not looked at.

    Raises:
        BadFile: whatever is wrong with this part of the file, or the clip ends before it.
    """
    film = opened(data, name, start + _LATE / fps, fps)
    return _stacked(held(film.shown, fps, start, count), name, shape)


def claimed(data: bytes, name: str, fps: Fraction) -> int | None:
    """How many frames ``decoded`` gives at a rate if a film is right about its length; None: it says nothing.

    Raises:
        BadFile: whatever is wrong at the start.
    """
    seconds = opened(data, name, rate=fps).seconds
    return None if seconds is None else _count(seconds, fps)


def opened(data: bytes, name: str, start: Fraction = Fraction(0), rate: Fraction | None = None) -> Film:
    """The frames in the bytes of a file, from the one shown ``start`` seconds after the first on, or before.

    Args:
        rate: of a folder of pictures that says none; None: 24 frames a second.

    Raises:
        BadFile: whatever is wrong at the start; what turns up later is raised while frames are taken.
    """
    if not data:
        raise BadFile(name, "empty file")
    if fault := wholesound.fault(data) or whole.fault(data) or animations.gif_fault(data):
        raise BadFile(name, fault)
    if sequences.is_sequence(data):
        found = sequences.film(data, name, rate or _USUAL)
    elif animations.is_animation(data):
        found = animations.film(data, name)
    else:
        found = (_sought(data, name, start) if start > 0 else None) or films.film(data, name)
    return found._replace(shown=_guarded(found.shown, name))


def held(
    shown: Iterable[Shown], fps: Fraction, start: Fraction = Fraction(0), count: int | None = None
) -> Iterator[Shown]:
    """What is seen at the moments of a constant rate, from ``start`` seconds on: ``count``, or to the end.

    Something is seen of every clip, however short.
    """
    number, one = 0, None
    for one, until in _spans(shown):
        while start + (number + _LATE) / fps < until and number != count:
            yield one
            number += 1
        if number == count:
            return
    if one is not None and number == start == 0:
        yield one


def moments(count: int, fps: Fraction, to: Fraction) -> list[int]:
    """Which of ``count`` frames at one rate are seen in each frame of another; as ``held`` says."""
    return [min(count - 1, int((number + _LATE) * fps / to)) for number in range(_count(count / fps, to))]


def _count(seconds: Fraction, fps: Fraction) -> int:
    """How many frames at a constant rate are seen in so many seconds; something is seen of every clip."""
    return max(1, math.ceil(seconds * fps - _LATE))


def _spans(shown: Iterable[Shown]) -> Iterator[tuple[Shown, Fraction]]:
    """Each frame, and the second until which it is seen."""
    last = None
    for one in shown:
        if last is not None:
            yield last, one.time
        last = one
    if last is not None:
        yield last, last.time + last.lasts


class _Log:
    """Frames on their way, of which the times and the size are written down."""

    def __init__(self, shown: Iterable[Shown], shape: Shape | None) -> None:
        self._shown, self._shape = shown, shape
        self._times: list[Fraction] = []
        self._end = Fraction(0)
        self._size = (0, 0)

    def __iter__(self) -> Iterator[Shown]:
        for one in self._shown:
            self._times.append(one.time)
            self._end = one.time + one.lasts
            yield one

    def shape(self, picture: Picture) -> UInt8[np.ndarray, "h2 w2 3"]:
        self._size = picture.shape[1], picture.shape[0]
        return picture if self._shape is None else self._shape(picture)

    def facts(self, film: Film) -> Facts:
        fps = film.size.fps if film.size is not None else _rate(self._times, self._end, film)
        return Facts(*self._size, tuple(self._times), self._end, fps)


def _rate(times: list[Fraction], end: Fraction, film: Film) -> Fraction:
    """The constant rate that explains the times as they were rounded, the file's own first; else the mean."""
    mean = len(times) / end
    for rate in (film.rate, mean.limit_denominator(1), mean.limit_denominator(1001)):
        if rate and all(abs(time - number / rate) <= film.tick for number, time in enumerate(times)):
            return rate
    return mean.limit_denominator(10)


def _stacked(shown: Iterable[Shown], name: str, shape: Shape | None) -> Frames:
    frames: list[Picture] = []
    last = None
    for one in shown:
        if one is not last:
            picture = one.picture()
            picture = picture if shape is None else shape(picture)
        last = one
        frames.append(picture)
        if picture.shape != frames[0].shape:
            raise BadFile(name, "changes its size midway")
        if len(frames) * picture.nbytes > MOST_BYTES:
            raise BadFile(name, f"holds more than {MOST_BYTES} bytes of frames")
    if not frames:
        raise BadFile(name, "no frames")
    return np.stack(frames)


def _sought(data: bytes, name: str, start: Fraction) -> Film | None:
    """The film from a key frame on that is shown by ``start``; None when it cannot be entered there."""
    found = films.film(data, name, start)
    try:
        first = next(found.shown)
    except Exception:  # whatever it is, reading from the beginning will tell
        return None
    return found._replace(shown=chain([first], found.shown)) if first.time <= start else None


def _guarded(shown: Iterator[Shown], name: str) -> Iterator[Shown]:
    while True:
        with refusing(name):
            one = next(shown, None)
        if one is None:
            return
        yield one
