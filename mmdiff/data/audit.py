"""The audit: every file of a data source, used, or rejected and why."""

import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mmdiff.data.badfile import BadFile, printable
from mmdiff.data.library import Media
from mmdiff.data.scan import Entry, Listing, Rejection, in_order, scan
from mmdiff.errors import UserError

_ONE_LINE_EACH = 200  # above this many used files the table lists their names folder by folder
_WIDTH = 110


@dataclass(frozen=True)
class Used:
    """A file that was decoded: where it is, and what the modality says of it (width and height, ...)."""

    entry: Entry
    facts: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        return self.entry.file_name


@dataclass(frozen=True)
class Audit:
    """What can be used of a data source.

    Attributes:
        root: what the user named.
        modality: its name.
        rejected: files, and metadata lines as `metadata.jsonl:LINE`.
        left_out: files that no metadata names, which is the user's choice and no fault.
        max_bad: the largest share of rejected files, 0 to 1, with which to go on.
    """

    root: str
    modality: str
    used: tuple[Used, ...]
    rejected: tuple[Rejection, ...]
    left_out: tuple[Rejection, ...]
    max_bad: float

    @property
    def total(self) -> int:
        """Files and faulty metadata lines; those left out do not count."""
        return len(self.used) + len(self.rejected)

    @property
    def bad_share(self) -> float:
        """Rejected / total, 0 when there is nothing."""
        return len(self.rejected) / max(self.total, 1)

    @property
    def listing(self) -> Listing:
        """What can be used, for a Library."""
        return Listing(self.root, tuple(u.entry for u in self.used), self.rejected, self.left_out)

    def columns(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Some of the facts of each used file that has them, by its name, for `Listing.beside`."""
        found = {u.file_name: {n: u.facts[n] for n in sorted(names) if n in u.facts} for u in self.used}
        return found if names else {}

    def as_dict(self) -> dict[str, Any]:
        """The whole audit as JSON types."""
        return {
            "path": self.root,
            "modality": self.modality,
            "bad_share": self.bad_share,
            "used": [
                {"file_name": u.file_name, **u.facts, "text": u.entry.columns["text"]} for u in self.used
            ],
            "rejected": [asdict(rejection) for rejection in self.rejected],
            "left_out": [asdict(rejection) for rejection in self.left_out],
        }


def audit(
    path: str | Path,
    modality: Media,
    max_bad: float = 0.05,
    *,
    captions: str = "text",
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Decodes every file of one modality.

    Args:
        path: a folder or a tar archive.
        max_bad: the largest share of rejected files that `refuse_if_too_bad` lets pass.
        captions: the metadata column that every row must have.
        progress: called after each file with (files done, files in all).

    Raises:
        UserError: there is nothing at `path`, or it is neither a folder nor an archive.
    """
    return examine(scan(path, modality.suffixes, captions), modality, max_bad, progress=progress)


def examine(
    listing: Listing,
    modality: Media,
    max_bad: float = 0.05,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Decodes every file of a scan; see `audit`."""
    used: list[Used] = []
    rejected = list(listing.rejections)
    for done, entry in enumerate(listing.entries, 1):
        try:
            used.append(Used(entry, modality.facts(modality.read(entry.open(), entry.file_name))))
        except BadFile as error:
            rejected.append(Rejection(entry.file_name, error.reason))
        if progress is not None:
            progress(done, len(listing.entries))
    return Audit(listing.root, modality.name, tuple(used), in_order(rejected), listing.left_out, max_bad)


def refuse_if_too_bad(found: Audit) -> None:
    """Raises UserError when nothing can be used, or more is rejected than `max_bad` allows."""
    more = f"run mmdiff data audit {found.root} --modality {found.modality}"
    if found.rejected:
        first = found.rejected[0]
        more = f"first: {printable(first.file_name)}: {printable(first.reason)}; {more}"
    if not found.used:
        raise UserError(f"{found.root} has no {found.modality} that can be used: {more}")
    if found.bad_share > found.max_bad:
        raise UserError(
            f"{len(found.rejected)} of {found.total} files ({_percent(found.bad_share)}) cannot be used, "
            f"more than data.max_bad = {_percent(found.max_bad)}: {more}"
        )


def table(found: Audit) -> str:
    """The audit for people: counts, then what was rejected and left out with reasons, then what is used."""
    head = (
        f"{found.root}: {len(found.used)} used, {len(found.rejected)} rejected ({_percent(found.bad_share)}, "
        f"data.max_bad is {_percent(found.max_bad)}), {len(found.left_out)} left out"
    )
    sections = [
        [head],
        _reasons("rejected", found.rejected),
        _reasons("left out", found.left_out),
        _used(found.used),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _reasons(title: str, rows: Sequence[Rejection]) -> list[str]:
    return _columns(title, [(printable(row.file_name), printable(row.reason)) for row in rows])


def _used(rows: Sequence[Used]) -> list[str]:
    if len(rows) <= _ONE_LINE_EACH:
        facts = [f"{_facts(u)}  {_short(u.entry.columns['text'])}" for u in rows]
        return _columns("used", list(zip([printable(u.file_name) for u in rows], facts, strict=True)))
    return [f"used ({len(rows)})", *_by_folder(rows)]


def _columns(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each row; the first column is as wide as most names need."""
    if not rows:
        return []
    wide = min(max(len(name) for name, _ in rows), 44)
    return [f"{title} ({len(rows)})", *(f"  {name:<{wide}}  {rest}".rstrip() for name, rest in rows)]


def _by_folder(rows: Sequence[Used]) -> Iterator[str]:
    """Runs of files in one folder with the same facts: a heading, then the names, many to a line."""
    for (folder, facts), run in groupby(rows, lambda u: (u.file_name.rpartition("/")[0], _facts(u))):
        names = [printable(u.file_name.rpartition("/")[2]) for u in run]
        yield f"  {printable(folder) or '.'}: {len(names)} of {facts}"
        yield from textwrap.wrap(
            "  ".join(names),
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _facts(row: Used) -> str:
    """For example 48x32, or seconds 1.5, sample_rate 16000, channels 1."""
    if row.facts.keys() == {"width", "height"}:
        return "{width}x{height}".format(**row.facts)
    return ", ".join(f"{name} {value}" for name, value in row.facts.items())


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
