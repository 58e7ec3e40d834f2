import hashlib
import io
import sys
import tarfile
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
