import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from mmdiff.data.badfile import BadFile
from mmdiff.data.scan import scan
from tests.data.folders import PICTURE, SUFFIXES, put, refused, row, rows, used


def packed(folder: Path, path: Path, mode: str = "w", top: str | None = None) -> Path:
    with tarfile.open(path, mode) as box:
        box.add(folder, arcname=folder.name if top is None else top)
    return path


def member(name: str, data: bytes = PICTURE, **fields: object) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(data)


@pytest.fixture
def rich(data) -> Path:
    """A folder with every layout, links and faults."""
    put(data, "set/a.png", "set/b.png", "set/ü\n.png", "cats/1.png", "cats/2.png", "outside.png")
    rows(
        data / "set", row("a.png", "first"), row("nope.png"), "broken", row("in.png", "link"), row("out.png")
    )
    (data / "set/in.png").symlink_to("b.png")
    (data / "set/out.png").symlink_to("../outside.png")
    (data / "cats/1.txt").write_text("one\nalso one")
    os.link(data / "cats/1.png", data / "cats/3.png")
    (data / "cats/3.txt").write_text("hard link")
    return data


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("w", "data.tar"),
        ("w:gz", "data.tar.gz"),
        ("w:gz", "data.tgz"),
        ("w:xz", "data.tar.xz"),
        ("w:bz2", "data.tar"),
    ],
)
def test_an_archive_is_its_folder(rich, mode, name):
    before, after = scan(rich, SUFFIXES), scan(packed(rich, rich.parent / name, mode), SUFFIXES)
    assert len(before.entries) == 4
    assert [(e.file_name, e.columns, e.open()) for e in after.entries] == [
        (e.file_name, e.columns, e.open()) for e in before.entries
    ]
    assert after.rejections == before.rejections
    assert after.left_out == before.left_out


@pytest.mark.parametrize("top", [".", "other"])
def test_the_top_folder_of_an_archive_may_be_any(rich, top):
    found = scan(packed(rich, rich.parent / "data.tar", top=top), SUFFIXES)
    at = "" if top == "." else "other/"
    assert [e.file_name for e in found.entries] == [at + e.file_name for e in scan(rich, SUFFIXES).entries]


def test_nothing_leads_out_of_an_archive(tmp_path):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as box:
        for name in ("good/a.png", "../climbs.png", "/etc/absolute.png", "good/../../also.png"):
            box.addfile(*member(name))
        for name, kind, target in (
            ("good/up.png", tarfile.SYMTYPE, "../../x.png"),
            ("good/root.png", tarfile.SYMTYPE, "/etc/hostname"),
            ("good/hard.png", tarfile.LNKTYPE, "../x.png"),
            ("good/disk.png", tarfile.BLKTYPE, ""),
            ("good/pipe.png", tarfile.FIFOTYPE, ""),
        ):
            box.addfile(*member(name, b"", type=kind, linkname=target))
    found = scan(path, SUFFIXES)
    assert set(used(found)) == {"good/a.png"}
    assert set(refused(found)) == {
        "../climbs.png",
        "/etc/absolute.png",
        "good/../../also.png",
        "good/up.png",
        "good/root.png",
        "good/hard.png",
        "good/disk.png",
        "good/pipe.png",
    }


def test_of_two_members_of_one_name_the_last_counts(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as box:
        box.addfile(*member("a.png", b"old"))
        box.addfile(*member("a.png", b"new"))
    (entry,) = scan(path, SUFFIXES).entries
    assert entry.open() == b"new"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_damaged_archive_says_so_and_gives_what_is_whole(tmp_path, mode):
    folder = tmp_path / "data"
    put(folder, *(f"{i}.png" for i in range(20)))
    data = packed(folder, tmp_path / "data.tar", mode).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: len(data) // 2])
    found = scan(cut, SUFFIXES)
    assert 0 < len(found.entries) < 20
    assert "cut off or damaged" in refused(found)["cut.tar"]
    sound = [entry for entry in found.entries if not unreadable(entry)]
    assert len(sound) >= len(found.entries) - 1


def unreadable(entry) -> bool:
    try:
        return entry.open() != PICTURE
    except BadFile:
        return True


def test_a_damaged_header_does_not_hide_the_rest_in_silence(tmp_path):
    folder = tmp_path / "data"
    put(folder, *(f"{i}.png" for i in range(20)))
    path = packed(folder, tmp_path / "data.tar")
    with tarfile.open(path) as box:
        third = box.getmembers()[3].offset
    data = bytearray(path.read_bytes())
    data[third : third + 100] = bytes(range(100))
    path.write_bytes(data)
    assert "damaged" in refused(scan(path, SUFFIXES))["data.tar"]


def test_an_archive_that_changed_is_read_anew(tmp_path):
    path = tmp_path / "a.tar.gz"
    for number, content in enumerate((b"old", b"newer")):
        with tarfile.open(path, "w:gz") as box:
            box.addfile(*member("a.png", content))
        os.utime(path, ns=(number, number))
        (entry,) = scan(path, SUFFIXES).entries
        assert entry.open() == content


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_entries_travel_to_other_processes(rich, mode):
    found = scan(packed(rich, rich.parent / "data.tar", mode), SUFFIXES)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.entries[0].open() == found.entries[0].open()


def test_errors_travel_to_other_processes():
    again = pickle.loads(pickle.dumps(BadFile("a.png", "cut off")))
    assert (str(again), again.name, again.reason) == ("a.png: cut off", "a.png", "cut off")
