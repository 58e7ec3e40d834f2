"""Rows of metadata.jsonl and metadata.csv.

Byte-order marks, line ends, blank lines and ragged columns do not matter. A row that cannot be read comes
back as a fault with its line number; it never hides the rows after it.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_MARKS = (  # the marks of UTF-32 begin with those of UTF-16, so they come first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_SURROGATE = re.compile("[\ud800-\udfff]")

# A quoted CSV field may hold line breaks. One that is not closed within this many lines is a missing quote:
# the line where it began is reported and reading goes on with the next.
_LONGEST_FIELD = 200


@dataclass(frozen=True)
class Row:
    """One row: the line where it begins (from 1), and its values or the fault that makes it unusable."""

    line: int
    values: dict[str, Any]
    fault: str = ""


def decode(data: bytes) -> str:
    """Text by its byte-order mark, else UTF-8; bytes that are not text become lone surrogates."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding:
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def is_text(string: str) -> bool:
    """False when there are lone surrogates: undecodable bytes, or half of a pair from a JSON escape."""
    return _SURROGATE.search(string) is None


def lines(text: str) -> list[str]:
    """The lines with their ends, whatever the style: LF, CR LF or CR."""
    return [line for line in _LINE.findall(text) if line]


def jsonl(data: bytes) -> Iterator[Row]:
    """The rows of a JSON-lines file."""
    for number, line in enumerate(lines(decode(data)), 1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    if not is_text(line):
        return Row(number, {}, "not UTF-8 text")
    try:
        # NaN and Infinity are not JSON but many writers make them: an unknown value
        values = json.loads(line.strip(), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        where = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        return Row(number, {}, f"not JSON{where}")
    if not isinstance(values, dict):
        return Row(number, {}, f"not a JSON object but {type(values).__name__}")
    return Row(number, values)


def table(data: bytes) -> Iterator[Row]:
    """The rows of a CSV file with a header line; commas, semicolons and tabs separate."""
    rest = lines(decode(data))
    records = _records(rest, _delimiter(rest))
    first = next(records, None)
    if first is None:
        return
    number, header = first
    names = [cell.strip() for cell in header or ()]
    if "file_name" not in names:
        yield Row(number, {}, "the header has no column file_name")
        return
    for number, cells in records:
        if cells is None:
            yield Row(number, {}, "not CSV: a quote is not closed or stands in the wrong place")
        elif not all(map(is_text, cells)):
            yield Row(number, {}, "not UTF-8 text")
        else:
            yield Row(number, dict(zip(names, cells, strict=False)))  # ragged rows: what is there counts


def _delimiter(rest: list[str]) -> str:
    header = next((line for line in rest if line.strip()), "")
    cells = {mark: [c.strip(' "\r\n') for c in header.split(mark)] for mark in ",;\t"}
    return next((mark for mark, names in cells.items() if "file_name" in names and len(names) > 1), ",")


def _records(rest: list[str], delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """(first line, cells) of every record that is not blank; cells are None where a line is no CSV."""
    start = 0
    while start < len(rest):
        if not rest[start].strip():
            start += 1
            continue
        reader = csv.reader(rest[start : start + _LONGEST_FIELD], delimiter=delimiter, strict=True)
        try:
            cells = next(reader)
        except csv.Error:
            yield start + 1, None
            start += 1
        else:
            yield start + 1, cells
            start += reader.line_num
