"""What the builders of data folders share: a folder that is whole or absent, its metadata, digest and tar."""

import argparse
import hashlib
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mmdiff.errors import UserError
from mmdiff.files import remove, replacing, temporary
from tools.data.packages import FetchError

Row = dict[str, Any]  # one line of metadata.jsonl
Item = TypeVar("Item")


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which becomes ``out`` on leaving without error and is removed otherwise.

    Raises:
        UserError: ``out`` is there already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: it is there already; remove it to build it anew")
    part = temporary(out)
    remove(part)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(out)
    finally:
        remove(part)


def write_rows(folder: Path, rows: Iterable[Row]) -> list[str]:
    """Writes ``metadata.jsonl``, sorted by file name so that equal packages give equal bytes.

    Returns its lines.
    """
    ordered = sorted(rows, key=lambda row: row["file_name"])
    lines = [json.dumps(row, ensure_ascii=False) for row in ordered]
    (folder / "metadata.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
    return lines


def digest(lines: Sequence[str], content: Callable[[str], bytes]) -> str:
    """SHA-256 over all lines of metadata and what ``content`` gives for the file names in them."""
    total = hashlib.sha256()
    for line in lines:
        total.update(line.encode())
        total.update(content(json.loads(line)["file_name"]))
    return total.hexdigest()


def attribution(what: str, credits: Sequence[str], texts: Mapping[str, str]) -> str:
    """Whom the files of a folder come from, and under that the texts that a copy must carry, by name."""
    head = f"The {what} in this folder come from:\n\n" + "".join(f"- {credit}\n" for credit in credits)
    return head + "".join(f"\n{'-' * 80}\n{name}\n\n{text}" for name, text in texts.items())


def counted(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Gives the items and shows on stderr how far it is: in place on a terminal, else at every quarter."""
    live, total = sys.stderr.isatty(), len(items)
    every = -(-total // 40) if live else -(-total // 4)
    for done, item in enumerate(items, 1):
        yield item
        if done == total or done % every == 0:
            end = "\r" if live and done < total else "\n"
            print(f"{done} of {total} {what}", file=sys.stderr, end=end, flush=True)


def pack(folder: Path, path: Path) -> None:
    """Writes ``folder`` as a plain tar with one top folder; its bytes depend on names and contents alone."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 1577836800  # 2020-01-01
        info.mode = 0o755 if info.isdir() else 0o644
        return info

    with replacing(path) as part, tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as box:
        box.add(folder, path.stem, filter=plain)


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A command line with the options that every builder has."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=name, description=doc, formatter_class=formatter)
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", default=name, help="the folder to make (default: %(default)s)")
    add("--tar", type=Path, metavar="FILE", help="pack the folder into a tar file too")
    cache = Path.home() / ".cache" / "mmdiff" / "packages"
    add("--cache", type=Path, metavar="DIR", default=cache, help="keeps the packages (default: %(default)s)")
    return parser


def command(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    build: Callable[[argparse.Namespace], list[str]],
    told: Callable[[list[Row]], Iterable[str]],
) -> int:
    """Builds, packs if that was asked, and tells of the rows, the first line after the folder's name.

    Returns:
        The exit code: 0 done, 1 failed while working, 2 the input was wrong, both after one line on stderr.
    """
    options = parser.parse_args(arguments)
    try:
        rows = [json.loads(line) for line in build(options)]
        if options.tar:
            pack(options.out, options.tar)
    except (UserError, FetchError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    print(f"{options.out}: " + "\n".join(told(rows)))
    return 0


def counts(rows: Iterable[Row], column: str) -> str:
    """How many rows have each value of a column, the most frequent first."""
    return ", ".join(f"{value} {n}" for value, n in Counter(row[column] for row in rows).most_common())


def write_attribution(folder: Path, credit: str) -> None:
    """Writes whom all is owed to."""
    (folder / "ATTRIBUTION.txt").write_text(credit, "utf-8")


def compare(found: str, reference: str, what: str, made: str) -> str:
    """Says whether a digest is that of the build whose results we publish, of such parts and so made."""
    if found == reference:
        return f"every caption and {what} equals the reference"
    return f"some {what}s differ from the reference, which was {made}"
