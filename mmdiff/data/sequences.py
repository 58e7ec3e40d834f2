"""Folders of numbered pictures, which are clips: 0001.png, 0002.png, ..., as compositing programs write them.

Such a folder is read as one file: an archive of its pictures in order.
"""

import io
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from PIL import Image

from mmdiff.data import cliptags, pictures
from mmdiff.data.badfile import BadFile
from mmdiff.data.files import Index, Place, check_size, prefixes
from mmdiff.data.shown import Film, Shown, refusing

_NUMBERED = re.compile(r"0*([0-9]+)\.(?:png|jpe?g|webp|bmp|tiff?)", re.IGNORECASE)


@dataclass(frozen=True)
class Frames:
    """The pictures of one clip in order, each with its name."""

    parts: tuple[tuple[str, Place], ...]

    def read(self) -> bytes:
        """All of them as one archive. Raises OSError, or ValueError with a reason."""
        return packed((name, place.read()) for name, place in self.parts)


def packed(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """Pictures as one archive. Raises ValueError if it is too large."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in parts:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            check_size(out.tell())
    return out.getvalue()


def found(index: Index, names: Iterable[str]) -> dict[str, Frames]:
    """The folders that hold numbered pictures and nothing else, as clips.

    Args:
        names: those of the index that count.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folders.setdefault(posixpath.dirname(name), []).append(name)
    above = {up for folder in folders for up in prefixes(posixpath.dirname(folder))}
    clips: dict[str, Frames] = {}
    for folder, inside in folders.items():
        order = _ordered(inside) if folder and folder not in above else []
        places = [_place(index, name) for name in order]
        parts = tuple((posixpath.basename(n), place) for n, place in zip(order, places, strict=True) if place)
        if order and len(parts) == len(order):
            clips[folder] = Frames(parts)
    return clips


def is_sequence(data: bytes) -> bool:
    """Whether the bytes are of such an archive."""
    return data[257:262] == b"ustar"


def film(data: bytes, name: str, rate: Fraction) -> Film:
    """The frames at ``rate`` a second, unless our own writer made them and said another. Raises BadFile."""
    with refusing(name), tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        members = archive.getmembers()
    size = _told(_bytes(data, members[0]))
    rate = rate if size is None else size.fps
    return Film(_shown(data, members, name, rate), Fraction(0), rate, size, len(members) / rate)


def _ordered(names: Sequence[str]) -> Sequence[str]:
    """The names by their numbers; none where one of them is something else, or there is only one."""
    matches = [(_NUMBERED.fullmatch(posixpath.basename(name)), name) for name in names]
    numbers = [(len(match[1]), match[1], name) for match, name in matches if match]
    return [name for *_, name in sorted(numbers)] if len(numbers) == len(names) > 1 else []


def _place(index: Index, name: str) -> Place | None:
    """Where a picture is; None of a link that leads to nothing."""
    try:
        return index.files[index.find(name)]
    except BadFile:
        return None


def _bytes(data: bytes, member: tarfile.TarInfo) -> bytes:
    return data[member.offset_data : member.offset_data + member.size]


def _shown(data: bytes, members: Sequence[tarfile.TarInfo], name: str, rate: Fraction) -> Iterator[Shown]:
    for number, member in enumerate(members):
        yield Shown(number / rate, 1 / rate, partial(_picture, data, member, name))


def _picture(data: bytes, member: tarfile.TarInfo, name: str) -> pictures.Picture:
    try:
        return pictures.decoded(_bytes(data, member), member.name)
    except BadFile as error:
        raise BadFile(name, f"{member.name}: {error.reason}") from None


def _told(data: bytes) -> cliptags.ClipSize | None:
    """What our own writer says of the clip in its first picture."""
    try:
        with refusing(""), Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return cliptags.size_of(str(picture.info.get(cliptags.KEY, "")))
    except BadFile:  # no PNG, or a damaged one, which decoding will name
        return None
