import hashlib
import io
import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

# The tools are scripts of the checkout and in no wheel.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def deb():
    """Makes Debian packages: ``deb(path, {path inside: bytes})`` writes one and returns its SHA-256."""

    def make(path, contents):
        inside = io.BytesIO()
        with tarfile.open(fileobj=inside, mode="w:xz") as box:
            for name, data in contents.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(data)
                box.addfile(info, io.BytesIO(data))
        members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": inside.getvalue()}
        with path.open("wb") as file:
            file.write(b"!<arch>\n")
            for name, data in members.items():
                file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
                file.write(data + b"\n" * (len(data) % 2))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return make


MIT = "MIT License\n\nCopyright (c) Miles\n\nPermission is hereby granted, free of charge, to any person\n"


def called(label, hexcode, group=0):
    return {"label": label, "hexcode": hexcode, "tags": [label], "group": group}


EMOJI = [
    called("Red Heart", "2764-FE0F"),
    called("Ca\u00f1on\u2019s", "1F3DE"),
    called("light skin tone", "1F3FB", group=1),
    {"label": "regional indicator A", "hexcode": "1F1E6"},
]
GROUPS = {"groups": [{"order": 0, "key": "symbols"}, {"order": 1, "key": "component"}]}


@pytest.fixture
def tgz():
    """Makes npm packages: ``tgz(path, {path inside: text or bytes})`` writes one and returns its SHA-256."""

    def make(path, contents):
        with tarfile.open(path, "w:gz") as box:
            for name, data in contents.items():
                data = data.encode() if isinstance(data, str) else data
                info = tarfile.TarInfo(f"package/{name}")
                info.size = len(data)
                box.addfile(info, io.BytesIO(data))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return make


@pytest.fixture
def emojibase(tmp_path, monkeypatch, tgz):
    """A cache that holds a made list of two emoji, pinned in place of the real one."""
    from tools.data import concepts

    folder = tmp_path / "shelf"
    folder.mkdir()
    contents = {
        "LICENSE": MIT,
        "en/messages.json": json.dumps(GROUPS),
        "en/data.json": json.dumps(EMOJI),
    }
    made = tgz(folder / concepts.EMOJIBASE.file_name, contents)
    monkeypatch.setattr(concepts, "EMOJIBASE", replace(concepts.EMOJIBASE, sha256=made))
    return folder
