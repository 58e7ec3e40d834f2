import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data import metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@given(st.lists(st.dictionaries(TEXT, VALUES, max_size=4), max_size=5), ENDS, st.sampled_from(ENCODINGS))
def test_json_rows_survive_any_line_end_and_mark(rows, end, encoding):
    data = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode(encoding)
    assert [(row.values, row.fault) for row in metadata.jsonl(data)] == [(row, "") for row in rows]


@given(st.lists(TEXT.filter(lambda t: "\0" not in t), min_size=1, max_size=5), ENDS, st.sampled_from(",;\t"))
def test_csv_rows_survive_any_line_end_and_delimiter(texts, end, mark):
    def quoted(cell):
        return '"' + cell.replace('"', '""') + '"'

    lines = [
        mark.join(["file_name", "text"]),
        *(mark.join([f"{i}.png", quoted(t)]) for i, t in enumerate(texts)),
    ]
    rows = list(metadata.table(end.join(lines).encode()))
    assert [row.values for row in rows] == [{"file_name": f"{i}.png", "text": t} for i, t in enumerate(texts)]


@given(st.binary(max_size=200))
def test_no_bytes_crash(data):
    for row in [*metadata.jsonl(data), *metadata.table(b"file_name,text\n" + data)]:
        assert row.line >= 1
        assert bool(row.fault) <= (row.values == {})


def test_lines_are_counted_from_one_with_blank_ones():
    data = b'\n{"a": 1}\n   \nbroken\n{"a": 2}'
    rows = list(metadata.jsonl(data))
    assert [(row.line, row.values) for row in rows] == [(2, {"a": 1}), (4, {}), (5, {"a": 2})]
    assert rows[1].fault.startswith("not JSON")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"a": 1', "not JSON"),
        (b"[1]", "not a JSON object but list"),
        (b"17", "not a JSON object but int"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8 text"),
    ],
)
def test_a_bad_line_does_not_hide_the_next(line, fault):
    bad, good = metadata.jsonl(line + b'\n{"a": 2}\n')
    assert bad.fault.startswith(fault)
    assert good.values == {"a": 2}


def test_unknown_numbers_are_none():
    assert next(metadata.jsonl(b'{"a": NaN, "b": -Infinity}')).values == {"a": None, "b": None}


def test_csv_fields_hold_line_breaks_and_rows_are_ragged():
    data = b'file_name,text,n\r\na.png,"two\nlines",1,2,3\r\n\r\nb.png,short\r\n'
    rows = [(row.line, row.values) for row in metadata.table(data)]
    assert rows == [
        (2, {"file_name": "a.png", "text": "two\nlines", "n": "1"}),
        (5, {"file_name": "b.png", "text": "short"}),
    ]


def test_a_csv_quote_that_is_not_closed_costs_one_row():
    data = b'file_name,text\na.png,"first\nb.png,second\nc.png,third\n'
    rows = list(metadata.table(data))
    assert [(row.line, row.values.get("text")) for row in rows] == [(2, None), (3, "second"), (4, "third")]


def test_csv_needs_a_column_file_name():
    (row,) = metadata.table(b"name,text\na.png,x\n")
    assert row.line == 1
    assert "file_name" in row.fault
    assert list(metadata.table(b"")) == []


def test_a_mark_that_lies_makes_the_text_no_text():
    assert not metadata.is_text(metadata.decode(b"\xff\xfeodd"))
