"""Where files lie: an index of the regular files of a folder or an archive.

Everything is looked up in the index by name, so a path with `..` or a link can lead nowhere else. Names
in the index are relative to its root, with `/`, without `.` and `..`.
"""

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mmdiff.data.badfile import BadFile

# Files are read whole. A larger one is no sample but a mistake, and would take the memory of the run.
LARGEST_FILE = 1 << 30
_LONGEST_CHAIN = 40  # links behind links, as many as Linux follows


@runtime_checkable
class Place(Protocol):
    """Where the bytes of one file are; small and picklable."""

    def read(self) -> bytes:
        """All bytes. Raises OSError, or ValueError with a reason."""


@dataclass(frozen=True)
class Plain:
    """A file on disk."""

    path: str

    def read(self) -> bytes:
        with Path(self.path).open("rb") as file:
            check_size(os.fstat(file.fileno()).st_size)
            return file.read()


def check_size(size: int) -> None:
    """Raises ValueError for a file too large to be read whole."""
    if size > LARGEST_FILE:
        raise ValueError(f"{size} bytes, more than the limit of {LARGEST_FILE}")


@dataclass(frozen=True)
class Index:
    """The files of a folder or an archive.

    Attributes:
        files: regular files.
        links: symbolic and hard links; the name that they lead to, or None when it is outside.
        strange: what is neither file nor link nor folder.
        faults: (name, reason) of what is wrong with the folder or archive itself.
    """

    files: Mapping[str, Place]
    links: Mapping[str, str | None]
    strange: frozenset[str] = frozenset()
    faults: tuple[tuple[str, str], ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.files or name in self.links or name in self.strange

    def __iter__(self) -> Iterator[str]:
        yield from self.files
        yield from self.links
        yield from self.strange

    def find(self, name: str, base: str = "") -> str:
        """The regular file that `name` leads to, which must lie in the folder `base` ("" is the root).

        Raises:
            BadFile: it is missing, is not a regular file, or lies elsewhere.
        """
        target = self._followed(name)
        if target is None or not inside(target, base):
            raise BadFile(name, "a link that leaves the folder" if target != name else "outside the folder")
        if target in self.strange:
            raise BadFile(name, "not a regular file")
        if target not in self.files:
            raise BadFile(name, "no such file" if target == name else "a link to nothing")
        return target

    def _followed(self, name: str) -> str | None:
        for _ in range(_LONGEST_CHAIN):
            hop = next((part for part in prefixes(name) if part in self.links), None)
            if hop is None:
                return name
            ahead = self.links[hop]
            if ahead is None:
                return None
            name = posixpath.normpath(posixpath.join(ahead, name[len(hop) + 1 :]))
        raise BadFile(name, "links that go in a circle")


def inside(name: str, base: str) -> bool:
    """Whether a relative path without inner `..` lies in the folder `base` ("" is the root)."""
    return name.startswith(f"{base}/") if base else not leaves(name)


def leaves(path: str) -> bool:
    """Whether a normalised path is absolute or climbs out of the folder that it starts from."""
    return path.startswith(("/", "../")) or path == ".."


def prefixes(name: str) -> Iterator[str]:
    """The folders above a name, outermost first, then the name."""
    at = name.find("/")
    while at >= 0:
        yield name[:at]
        at = name.find("/", at + 1)
    yield name


def folder(path: Path) -> Index:
    """The index of a folder on disk; links are not followed but noted with where they lead."""
    files: dict[str, Place] = {}
    links: dict[str, str | None] = {}
    strange: set[str] = set()
    faults: list[tuple[str, str]] = []
    root = os.path.realpath(path)
    waiting = [""]
    while waiting:
        at = waiting.pop()
        try:
            children = sorted(os.scandir(posixpath.join(root, at)), key=lambda child: child.name)
        except OSError as error:
            faults.append((f"{at}/", f"cannot be read: {error.strerror}"))
            continue
        for child in children:
            name = posixpath.join(at, child.name)
            if child.is_symlink():
                ahead = os.path.relpath(os.path.realpath(child.path), root)
                links[name] = None if leaves(ahead) else ahead
            elif child.is_dir():
                waiting.append(name)
            elif child.is_file():
                files[name] = Plain(child.path)
            else:
                strange.add(name)
    return Index(files, links, frozenset(strange), tuple(faults))
