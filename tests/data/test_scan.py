import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data.badfile import BadFile
from mmdiff.data.scan import natural, scan
from mmdiff.errors import UserError
from tests.data.folders import PICTURE, SUFFIXES, put, refused, row, rows, used

# Layouts


def test_metadata_names_files_and_keeps_every_column(data):
    put(data, "a.png", "sub/b.png")
    rows(data, row("sub/b.png", "second", n=[1, {"deep": None}]), row("./a.png", "first"))
    found = scan(data, SUFFIXES)
    assert used(found) == {"a.png": "first", "sub/b.png": "second"}
    assert found.entries[1].columns == {"text": "second", "n": [1, {"deep": None}]}
    assert found.entries[0].open() == PICTURE


def test_csv_metadata(data):
    put(data, "a.png", "b.png")
    (data / "metadata.csv").write_bytes(
        b'\xef\xbb\xbffile_name,text,n\r\na.png,"one, two",1\r\nb.png,three\r\n'
    )
    found = scan(data, SUFFIXES)
    assert [entry.columns for entry in found.entries] == [{"text": "one, two", "n": "1"}, {"text": "three"}]


def test_json_lines_count_before_csv(data):
    put(data, "a.png")
    rows(data, row("a.png", "json"))
    (data / "metadata.csv").write_text("file_name,text\na.png,csv\n")
    found = scan(data, SUFFIXES)
    assert used(found) == {"a.png": "json"}
    assert [rejection.file_name for rejection in found.left_out] == ["metadata.csv"]


def test_caption_files(data):
    put(data, "a.png", "b.png", "c.png", "cats/d.png")
    (data / "a.txt").write_text("a red heart\n\nanother name\r\n", encoding="utf-8-sig")
    (data / "b.txt").write_bytes(b"\xe9t\xe9")
    (data / "cats/d.txt").write_text("")
    found = scan(data, SUFFIXES)
    assert found.entries[0].columns == {"text": "a red heart", "alternatives": ["another name"]}
    assert found.entries[1].columns == {"text": "", "alternatives": [], "label": "cats"}
    assert refused(found) == {
        "b.png": "its caption file b.txt is not UTF-8 text",
        "c.png": "its caption file c.txt is missing",
    }


def test_class_folders(data):
    put(data, "cats/1.png", "cats/2.jpg", "small dogs/deep/3.png", "4.png")
    found = scan(data, SUFFIXES)
    assert [entry.columns for entry in found.entries] == [
        {"text": ""},
        {"text": "cats", "label": "cats"},
        {"text": "cats", "label": "cats"},
        {"text": "deep", "label": "deep"},
    ]


def test_every_folder_may_have_its_own_metadata(data):
    put(data, "a/1.png", "b/1.png", "b/2.png", "c/1.png", "d/1.png")
    rows(data / "a", row("1.png", "first"))
    rows(data / "b", row("1.png", "second"))
    (data / "d/1.txt").write_text("captioned")
    found = scan(data, SUFFIXES)
    assert used(found) == {"a/1.png": "first", "b/1.png": "second", "d/1.png": "captioned"}
    assert {r.file_name for r in found.left_out} == {"b/2.png", "c/1.png"}


def test_other_columns_can_be_the_caption(data):
    put(data, "a.png", "b.png")
    rows(data, {"file_name": "a.png", "title": "hers"}, row("b.png"))
    found = scan(data, SUFFIXES, captions="title")
    assert found.entries[0].columns == {"title": "hers", "text": "hers"}
    assert refused(found) == {"metadata.jsonl:2": "no title (columns: file_name, text)"}


def test_junk_and_other_media_are_passed_over(data):
    put(
        data,
        "a.png",
        ".hidden.png",
        "__MACOSX/a.png",
        "._a.png",
        ".cache/b.png",
        "Thumbs.db",
        "song.wav",
        "a.md",
    )
    found = scan(data, SUFFIXES)
    assert list(used(found)) == ["a.png"]
    assert not found.rejections
    assert not found.left_out
    rows(data, row("a.png"), row("song.wav"), row("gone.mp4"), row(".hidden.png", "named is used"))
    found = scan(data, SUFFIXES)
    assert set(used(found)) == {"a.png", ".hidden.png"}
    assert not found.rejections


def test_a_row_may_name_a_file_of_any_extension(data):
    (data / "picture").write_bytes(PICTURE)
    rows(data, row("picture"))
    assert set(used(scan(data, SUFFIXES))) == {"picture"}


def test_upper_case_extensions(data):
    put(data, "UPPER.PNG")
    assert set(used(scan(data, SUFFIXES))) == {"UPPER.PNG"}


@pytest.mark.parametrize(
    "name", ["naïve 日本語 😀.png", "new\nline.png", "x" * 250 + ".png", "a\\b.png", "%41 &.png"]
)
def test_unusual_names(data, name):
    put(data, name)
    assert set(used(scan(data, SUFFIXES))) == {name}
    rows(data, row(name, "named"))
    assert used(scan(data, SUFFIXES)) == {name: "named"}


def test_names_that_are_not_unicode(data):
    (data / os.fsdecode(b"\xff.png")).write_bytes(PICTURE)
    (entry,) = scan(data, SUFFIXES).entries
    assert entry.open() == PICTURE
    assert str(BadFile(entry.file_name, "odd")) == "\\udcff.png: odd"


def test_composed_and_decomposed_accents_are_one_name(data):
    put(data, "e\u0301.png")
    rows(data, row("\u00e9.png", "accented"))
    assert used(scan(data, SUFFIXES)) == {"e\u0301.png": "accented"}


def test_natural_order(data):
    put(data, "b/1.png", "a10.png", "a2.png", "a1.png", "a02.png", "B.png")
    assert list(used(scan(data, SUFFIXES))) == ["B.png", "a1.png", "a02.png", "a2.png", "a10.png", "b/1.png"]


@given(st.lists(st.text("ab019/.", max_size=8)))
def test_natural_order_is_total(names):
    assert sorted(names, key=natural) == sorted(sorted(names), key=natural)
    assert all(natural(a) != natural(b) for a in names for b in names if a != b)


# Wrong rows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"file_name": "b.png", "text": "x"', "not JSON"),
        ("17", "not a JSON object but int"),
        (["b.png", "x"], "not a JSON object but list"),
        ({"text": "x"}, "no file_name"),
        ({"file_name": "b.png"}, r"no text \(columns: file_name\)"),
        (row(5), "file_name must be a string, not 5"),
        (row("b.png", 7), "text must be a string, not 7"),
        (row("b.png", ["x"]), "text must be a string"),
        (row("b.png", None), "no text"),
        ('{"file_name": "b.png", "text": "\\ud800"}', "text is not valid Unicode"),
        (row("nope.png"), "'nope.png': no such file"),
        (row(""), "empty"),
        (row("sub"), "no such file"),
        (row("a.png\0"), "no such file"),
        (row("../outside.png"), "leaves the folder"),
        (row("sub/../../outside.png"), "leaves the folder"),
        (row("/etc/hostname"), "leaves the folder"),
        (row("./a.png"), "named before, in metadata.jsonl:1"),
    ],
)
def test_a_wrong_row_is_reported_by_its_line_and_the_others_load(data, line, reason):
    put(data, "a.png", "b.png", "c.png", "sub/d.png", "../outside.png")
    rows(data, row("a.png", "first"), line, row("c.png", "third"))
    found = scan(data, SUFFIXES)
    assert used(found) == {"a.png": "first", "c.png": "third"}
    (rejection,) = found.rejections
    assert rejection.file_name == "metadata.jsonl:2"
    assert re.search(reason, rejection.reason)
    assert {r.file_name for r in found.left_out} == {"b.png", "sub/d.png"}


def test_a_wrong_row_does_not_claim_its_file(data):
    put(data, "a.png")
    rows(data, row("a.png", 5), row("a.png", "right"))
    assert used(scan(data, SUFFIXES)) == {"a.png": "right"}


@given(st.binary(max_size=100))
def test_no_metadata_ends_the_scan(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    put(folder, "a.png")
    (folder / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "text": "x"}\n' + data)
    assert used(scan(folder, SUFFIXES)) == {"a.png": "x"}


# Links and what is no file


def test_links_count_when_they_lead_to_a_file_inside(data):
    put(data, "set/a.png", "outside.png", "set/.store/9")
    rows(
        data / "set",
        *[row(f"{name}.png") for name in ("in", "chain", "out", "abroad", "gone", "round", "store")],
    )
    links = {
        "in": "a.png",
        "chain": "in2.png",
        "out": "../outside.png",
        "abroad": "/etc/hostname",
        "gone": "no.png",
    }
    for name, target in (links | {"in2": "b.png", "round": "round.png", "store": ".store/9"}).items():
        (data / f"set/{name}.png").symlink_to(target)
    put(data, "set/b.png")
    for root, at in ((data / "set", ""), (data, "set/")):
        found = scan(root, SUFFIXES)
        assert set(used(found)) == {f"{at}in.png", f"{at}chain.png", f"{at}store.png"}
        assert refused(found) == {
            f"{at}abroad.png": "a link that leaves the folder",
            f"{at}gone.png": "a link to nothing",
            f"{at}out.png": "a link that leaves the folder",
            f"{at}round.png": "links that go in a circle",
        }


def test_links_to_folders(data):
    put(data, "real/a.png", "../elsewhere/secret.png")
    (data / "away").symlink_to("../elsewhere")
    (data / "again").symlink_to("real")
    found = scan(data, SUFFIXES)
    assert set(used(found)) == {"real/a.png"}
    assert refused(found) == {"away": "a link that leaves the folder"}
    rows(data, row("again/a.png", "through the link"), row("away/secret.png"))
    found = scan(data, SUFFIXES)
    assert used(found) == {"again/a.png": "through the link"}
    assert "leaves the folder" in refused(found)["metadata.jsonl:2"]


def test_metadata_and_captions_are_not_read_through_links_that_leave(data):
    put(data, "a.png", "sub/b.png")
    secret = data.parent / "secret.txt"
    secret.write_text('{"file_name": "a.png", "text": "secret"}')
    (data / "sub/b.txt").symlink_to(secret)
    found = scan(data, SUFFIXES)
    assert refused(found) == {"sub/b.png": "its caption file b.txt: a link that leaves the folder"}
    (data / "metadata.jsonl").symlink_to(secret)
    assert "secret" not in used(scan(data, SUFFIXES)).values()


def test_what_is_no_regular_file_is_refused(data):
    put(data, "a.png")
    os.mkfifo(data / "pipe.png")
    (data / "folder.png").mkdir()
    found = scan(data, SUFFIXES)
    assert set(used(found)) == {"a.png"}
    assert refused(found) == {"pipe.png": "not a regular file"}


def test_a_file_that_went_away_is_reported_by_name(data):
    put(data, "a.png")
    (entry,) = scan(data, SUFFIXES).entries
    (data / "a.png").unlink()
    with pytest.raises(BadFile, match=r"a\.png: cannot be read: No such file"):
        entry.open()


def test_what_is_no_data_at_all(data):
    assert scan(data, SUFFIXES).entries == ()
    with pytest.raises(UserError, match="does not exist"):
        scan(data / "gone", SUFFIXES)
    put(data, "a.png")
    with pytest.raises(UserError, match="not a tar archive"):
        scan(data / "a.png", SUFFIXES)
