"""Finds the samples of a folder or a tar archive, each with its metadata.

The first of these that there is decides:

1. `metadata.jsonl` or `metadata.csv` in the folder or above it: one row a file, with `file_name` and `text`;
2. a caption file `x.txt` next to `x.png`: the first line is the text, further lines are `alternatives`;
3. the name of the sub-folder, as `label` and as text.

Whatever is not used is reported with its reason, never dropped in silence and never a reason to stop.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmdiff.data import archive, files, metadata, sequences
from mmdiff.data.badfile import BadFile
from mmdiff.data.files import Index, Place
from mmdiff.errors import UserError

_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_BOOKS: dict[str, Callable[[bytes], Iterator[metadata.Row]]] = {
    "metadata.jsonl": metadata.jsonl,
    "metadata.csv": metadata.table,
}
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
FILMS = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg"})
SOUNDS = frozenset(
    {".wav", ".w64", ".rf64", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".flac", ".ape", ".tta", ".wv"}
    | {".ogg", ".oga", ".opus", ".mp3", ".m4a", ".m4b", ".aac", ".mka", ".weba", ".wma", ".amr"}
)
# A row may name a file of any extension, since the content decides. Only those of another medium are passed
# over, so that one metadata file can serve pictures and sounds.
_MEDIA = PICTURES | FILMS | SOUNDS
_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class Entry:
    """A file that may be a sample: its name below the root, its metadata with `text`, its place."""

    file_name: str
    columns: dict[str, Any]
    where: Place

    def open(self) -> bytes:
        """All bytes of the file. Raises BadFile."""
        try:
            return self.where.read()
        except OSError as error:
            raise BadFile(self.file_name, f"cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise BadFile(self.file_name, str(error)) from None


@dataclass(frozen=True)
class Rejection:
    """What cannot be used: the name of a file, or of a metadata file with `:LINE`, and one short reason."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The samples of one data source, in natural order of their names.

    Attributes:
        root: what the user named.
        left_out: files that no row or caption names; the user's choice and not a fault.
    """

    root: str
    entries: tuple[Entry, ...]
    rejections: tuple[Rejection, ...] = ()
    left_out: tuple[Rejection, ...] = ()

    def beside(self, facts: Mapping[str, Mapping[str, Any]]) -> "Listing":
        """The same with facts of files, by name, as columns where the metadata has none of that name."""

        def filled(entry: Entry) -> Entry:
            own, known = entry.columns, facts.get(entry.file_name, {})
            return replace(entry, columns=own | {n: v for n, v in known.items() if own.get(n) in (None, "")})

        return replace(self, entries=tuple(map(filled, self.entries)))


def scan(path: str | Path, suffixes: frozenset[str], captions: str = "text") -> Listing:
    """Lists the files of one modality.

    Args:
        path: a folder or a tar archive (plain, gzip, bzip2 or xz).
        suffixes: lower-case extensions of the modality, with the dot. Where films are among them, a folder of
            numbered pictures is one sample.
        captions: the metadata column that every row must have as a string; `text` is a copy of it.

    Raises:
        UserError: there is nothing at `path`, or it is neither a folder nor an archive.
    """
    where = Path(path).expanduser()
    if not where.exists():
        raise UserError(f"{path} does not exist; expected a folder or a tar archive")
    found = files.folder(where) if where.is_dir() else archive.archive(where)
    clips = sequences.found(found, filter(_visible, found)) if suffixes & FILMS else {}
    search = _Search(replace(found, files={**found.files, **clips}), suffixes, captions, clips)
    search.run()
    return Listing(
        str(path),
        tuple(sorted(search.entries, key=lambda entry: natural(entry.file_name))),
        in_order(search.rejections),
        in_order(search.left_out),
    )


def natural(name: str) -> tuple[tuple[tuple[int, str, str] | str, ...], ...]:
    """A key that sorts folder by folder and numbers by value: `a2` before `a10`."""
    return tuple(
        tuple(_value(piece) if i % 2 else piece for i, piece in enumerate(_NUMBER.split(part)))
        for part in name.split("/")
    )


def in_order(rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """Sorted by name."""
    return tuple(sorted(rejections, key=lambda rejection: natural(rejection.file_name)))


def _value(digits: str) -> tuple[int, str, str]:
    """Orders runs of digits as numbers of any length; those of equal value by their leading zeros."""
    significant = digits.lstrip("0")
    return len(significant), significant, digits


def _visible(name: str) -> bool:
    return not any(part.startswith(".") or part in _JUNK for part in name.split("/"))


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


@dataclass
class _Search:
    """One scan at work: what it looks through, and what it has found."""

    index: Index
    suffixes: frozenset[str]
    captions: str
    clips: Mapping[str, sequences.Frames]  # folders that are one sample
    entries: list[Entry] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    left_out: list[Rejection] = field(default_factory=list)

    def run(self) -> None:
        self.rejections += [Rejection(name, reason) for name, reason in self.index.faults]
        books = self._books()
        named: dict[str, str] = {}  # name in the index -> the row that names it
        for folder, book in books.items():
            self._read_book(folder, book, named)
        # Metadata that names pictures one by one says that they are no clip
        gone = set[str]()
        for folder, clip in self.clips.items():
            inside = {posixpath.join(folder, name) for name, _ in clip.parts}
            gone |= {folder} if named.keys() & inside else inside
        candidates = [n for n in self.index if self._wanted(n) and n not in named and n not in gone]
        self._report_folder_links()
        captioned = {posixpath.dirname(n) for n in candidates if self._caption_name(n) in self.index}
        for name in candidates:
            folder = posixpath.dirname(name)
            above = next((up for up in _upwards(folder) if up in books), None)
            if above is not None:
                self.left_out.append(Rejection(name, f"no usable row of {books[above]} names it"))
            elif books and folder not in captioned:
                self.left_out.append(Rejection(name, "neither metadata nor a caption file names it"))
            else:
                self._take(name, folder, folder in captioned)

    def _wanted(self, name: str) -> bool:
        """Whether a name is that of a sample, be it a folder."""
        return _visible(name) and (_suffix(name) in self.suffixes or name in self.clips)

    def _books(self) -> dict[str, str]:
        """The metadata file of every folder that has one, outer folders first; JSON lines before CSV."""
        names = [n for n in self.index if posixpath.basename(n) in _BOOKS and _visible(n)]
        books: dict[str, str] = {}
        for name in sorted(names, key=lambda n: (n.count("/"), natural(n)), reverse=True):
            folder = posixpath.dirname(name)
            other = books.get(folder)
            if other is not None:
                csv = other if other.endswith(".csv") else name
                name = name if csv == other else other
                self.left_out.append(Rejection(csv, f"{posixpath.basename(name)} beside it counts"))
            books[folder] = name
        return dict(reversed(books.items()))

    def _read_book(self, folder: str, book: str, named: dict[str, str]) -> None:
        try:
            data = Entry(book, {}, self.index.files[self.index.find(book, folder)]).open()
        except BadFile as error:
            self.rejections.append(Rejection(book, error.reason))
            return
        for row in _BOOKS[posixpath.basename(book)](data):
            at = f"{book}:{row.line}"
            fault = row.fault or self._use(row.values, folder, at, named)
            if fault:
                self.rejections.append(Rejection(at, fault))

    def _use(self, values: dict[str, Any], folder: str, at: str, named: dict[str, str]) -> str:
        """Makes an entry of a row; returns the fault when the row itself is wrong."""
        file_name = values.get("file_name")
        fault = _string_fault(values, "file_name")
        if fault or not isinstance(file_name, str):
            return fault
        if _suffix(file_name) in _MEDIA - self.suffixes:
            return ""
        fault = _string_fault(values, self.captions)
        if fault:
            return fault
        relative = posixpath.normpath(file_name)
        if files.leaves(relative) or not file_name:
            return f"file_name {file_name!r} leaves the folder" if file_name else "file_name is empty"
        name = self._spelled(posixpath.join(folder, relative))
        try:
            target = self.index.find(name, folder)
        except BadFile as error:
            if name not in self.index or name in named:
                return f"{file_name!r}: {error.reason}"
            named[name] = at
            self.rejections.append(Rejection(name, error.reason))
            return ""
        if target in named:
            return f"{file_name!r} is named before, in {named[target]}"
        named[target] = named[name] = at
        columns = {key: value for key, value in values.items() if key != "file_name"}
        self.entries.append(Entry(name, {**columns, "text": values[self.captions]}, self.index.files[target]))
        return ""

    def _spelled(self, name: str) -> str:
        """The name as the index spells it: systems differ in how they compose accents (NFC, NFD)."""
        if name in self.index:
            return name
        forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        return next((form for form in forms if form in self.index), name)

    def _report_folder_links(self) -> None:
        """A link to a folder outside would hide all its files: it is reported, like a file."""
        for name, ahead in self.index.links.items():
            if ahead is None and _visible(name) and not _suffix(name):
                self.rejections.append(Rejection(name, "a link that leaves the folder"))

    def _caption_name(self, name: str) -> str:
        return (name if name in self.clips else posixpath.splitext(name)[0]) + ".txt"

    def _take(self, name: str, folder: str, captioned: bool) -> None:
        """Makes an entry of a file without metadata."""
        columns: dict[str, Any] = {"label": posixpath.basename(folder)} if folder else {}
        try:
            target = self.index.find(name)
            if captioned:
                columns |= self._caption(name)
        except BadFile as error:
            self.rejections.append(Rejection(name, error.reason))
            return
        text = columns.get("text", columns.get("label", ""))
        self.entries.append(Entry(name, {**columns, "text": text}, self.index.files[target]))

    def _caption(self, name: str) -> dict[str, Any]:
        caption = self._caption_name(name)
        short = posixpath.basename(caption)
        if caption not in self.index:
            raise BadFile(name, f"its caption file {short} is missing")
        try:
            text = metadata.decode(Entry(caption, {}, self.index.files[self.index.find(caption)]).open())
        except BadFile as error:
            raise BadFile(name, f"its caption file {short}: {error.reason}") from None
        if not metadata.is_text(text):
            raise BadFile(name, f"its caption file {short} is not UTF-8 text")
        lines = [line.strip() for line in metadata.lines(text) if line.strip()]
        return {"text": lines[0] if lines else "", "alternatives": lines[1:]}


def _string_fault(values: dict[str, Any], column: str) -> str:
    value = values.get(column)
    if value is None:
        there = ", ".join(map(str, values)) or "none"
        return f"no {column} (columns: {there})"
    if not isinstance(value, str):
        return f"{column} must be a string, not {value!r:.60}"
    if not metadata.is_text(value) and column != "file_name":
        return f"{column} is not valid Unicode"
    return ""


def _upwards(folder: str) -> Iterator[str]:
    """The folder and those above it, up to the root ""."""
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""
