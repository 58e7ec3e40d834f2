"""Tar archives, plain or compressed, indexed and read by offset: nothing is ever extracted."""

import os
import posixpath
import tarfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from gzip import GzipFile
from io import BufferedIOBase
from lzma import LZMAError, LZMAFile
from pathlib import Path
from typing import IO, TypeVar

from mmdiff.data.files import Index, Place, check_size, leaves
from mmdiff.errors import UserError
from mmdiff.files import scratch

# An archive may unpack to this many times its size, or to the floor. Beyond that it is a bomb.
_LARGEST_RATIO, _RATIO_FLOOR = 100, 1 << 30
_Unpack = Callable[[str], BufferedIOBase]
_PACKERS: dict[bytes, _Unpack] = {b"\x1f\x8b": GzipFile, b"BZh": BZ2File, b"\xfd7zXZ": LZMAFile}
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Member:
    """A member of a tar archive: `size` bytes from `offset`, counted in the unpacked archive."""

    archive: str
    stamp: int  # time of the last change, ns: a copy unpacked earlier is not taken for a newer archive
    offset: int
    size: int
    packed: bool

    def read(self) -> bytes:
        check_size(self.size)
        if self.packed:
            data = os.pread(_unpacked(self.archive, self.stamp).file.fileno(), self.size, self.offset)
        else:
            with Path(self.archive).open("rb") as file:
                data = os.pread(file.fileno(), self.size, self.offset)
        if len(data) < self.size:
            raise ValueError(f"cut off: {len(data)} of {self.size} bytes are there")
        return data


class _Unpacked:
    """An archive unpacked into an unnamed temporary file, and what kept the rest from being read."""

    def __init__(self, path: str, unpack: _Unpack) -> None:
        self.file, self.problem = scratch(self), ""
        limit = max(_RATIO_FLOOR, _LARGEST_RATIO * Path(path).stat().st_size)
        try:
            with unpack(path) as source:
                while block := source.read1(1 << 20):
                    self.file.write(block)
                    if self.file.tell() > limit:
                        raise UserError(f"{path} unpacks to more than {limit} bytes: refused")
        except (OSError, EOFError, zlib.error, LZMAError) as error:
            self.problem = f"cut off or damaged: {error}"
        self.file.flush()


@lru_cache(maxsize=4)
def _unpacked(path: str, stamp: int) -> _Unpacked:
    """Each process unpacks an archive once; then its members are read by offset like those of a plain tar."""
    unpack = _packer(path)
    assert unpack is not None
    return _Unpacked(path, unpack)


def _packer(path: str) -> _Unpack | None:
    with Path(path).open("rb") as file:
        start = file.read(8)
    return next((unpack for magic, unpack in _PACKERS.items() if start.startswith(magic)), None)


def archive(path: Path) -> Index:
    """The index of a tar archive.

    A pack NAME.tar whose files all lie in one folder NAME has that folder as its root. Of a damaged archive,
    what is whole is in the index and the damage in its faults.

    Raises:
        UserError: it is no tar archive.
    """
    name, stamp = os.path.realpath(path), path.stat().st_mtime_ns
    packed, problem = _packer(name) is not None, ""
    if packed:
        unpacked = _unpacked(name, stamp)
        members, problem = _members(unpacked.file, path)
        problem = unpacked.problem or problem
    else:
        with path.open("rb") as file:
            members, problem = _members(file, path)
    found = _sorted_out(members, lambda m: Member(name, stamp, m.offset_data, m.size, packed))
    faults = ((path.name, problem),) if problem else ()
    return _within_top(Index(found.files, found.links, found.strange, found.faults + faults), path)


def _members(file: IO[bytes], path: Path) -> tuple[list[tarfile.TarInfo], str]:
    """The members, and what keeps the rest from being read: at a damaged header tarfile stops in silence."""
    members: list[tarfile.TarInfo] = []
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as box:
            members.extend(iter(box.next, None))
            file.seek(box.offset)
            block = file.read(tarfile.BLOCKSIZE)
            ended = len(block) == tarfile.BLOCKSIZE and not any(block)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        if not members:
            raise UserError(f"{path} is not a folder and not a tar archive: {error}") from None
        ended = False
    last = members[-1].name if members else "its start"
    return members, "" if ended else f"cut off or damaged after {last}"


def _sorted_out(members: Sequence[tarfile.TarInfo], place: Callable[[tarfile.TarInfo], Place]) -> Index:
    files: dict[str, Place] = {}
    links: dict[str, str | None] = {}
    strange: dict[str, None] = {}
    faults: list[tuple[str, str]] = []
    for member in members:
        name = posixpath.normpath(member.name)
        if leaves(name):
            faults.append((member.name, "a path that leaves the archive"))
            continue
        files.pop(name, None), links.pop(name, None), strange.pop(name, None)  # the last of one name counts
        if member.issym() or member.islnk():
            # A symbolic link starts from its own folder, a hard link from the top of the archive.
            start = posixpath.dirname(name) if member.issym() else ""
            ahead = posixpath.normpath(posixpath.join(start, member.linkname))
            links[name] = None if leaves(ahead) else ahead
        elif member.isreg() and not member.issparse():
            files[name] = place(member)
        elif not member.isdir():
            strange[name] = None
    return Index(files, links, frozenset(strange), tuple(faults))


def _within_top(found: Index, path: Path) -> Index:
    top = path.name.split(".tar")[0].removesuffix(".tgz") + "/"
    if not all(name.startswith(top) for name in found):
        return found

    def cut(values: Mapping[str, _Value]) -> dict[str, _Value]:
        return {name.removeprefix(top): value for name, value in values.items()}

    links = {
        name: ahead.removeprefix(top) if ahead and ahead.startswith(top) else None
        for name, ahead in cut(found.links).items()
    }
    strange = frozenset(name.removeprefix(top) for name in found.strange)
    return Index(cut(found.files), links, strange, found.faults)
