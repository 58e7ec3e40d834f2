"""Packages of npm, Debian and PyPI as plain data: fetched by name and version, checked, never run."""

import importlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from re import Pattern
from types import ModuleType
from typing import Protocol

from mmdiff.errors import UserError
from mmdiff.files import sha256

Say = Callable[[str], None]  # shows one line of progress


class FetchError(RuntimeError):
    """A package could not be had, or is not the one that was asked for."""


class Archive(Protocol):
    """One version of a package, and the SHA-256 of the file that its registry serves for it."""

    @property
    def spec(self) -> str:
        """What its client calls it."""

    @property
    def file_name(self) -> str:
        """What its client calls the file."""

    @property
    def sha256(self) -> str: ...

    @property
    def megabytes(self) -> float: ...

    @property
    def client(self) -> tuple[str, ...]:
        """The command that stores the file of the spec that follows, and unpacks and runs nothing."""

    @property
    def advice(self) -> str:
        """What to do where the client is not installed."""


@dataclass(frozen=True)
class Package:
    """An npm package."""

    name: str
    version: str
    sha256: str
    megabytes: float

    client = ("npm", "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", ".")
    advice = "Debian: apt install npm"

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


@dataclass(frozen=True)
class Debian:
    """A Debian package for all architectures; its release must be among the sources of apt."""

    name: str
    version: str
    sha256: str
    megabytes: float

    client = ("apt-get", "download", "--quiet")
    advice = "elsewhere than on Debian, put the file there by hand"

    @property
    def spec(self) -> str:
        return f"{self.name}={self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version}_all.deb"


def fetch(package: Archive, cache: Path, say: Say) -> Path:
    """Returns the file of ``package`` in ``cache``, downloaded unless the right one is there already.

    Raises:
        UserError: the client is needed and not installed.
        FetchError: the client failed, or the file's SHA-256 is not the pinned one.
    """
    target = cache / package.file_name
    if target.exists() and sha256(target) == package.sha256:
        say(f"{package.spec}: in the cache")
        return target
    name, *options = package.client
    program = shutil.which(name)
    if program is None:
        raise UserError(f"{package.spec}: no {target}, and {name} is not installed ({package.advice})")
    say(f"{package.spec}: downloading {package.megabytes:.1f} MB")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as place:
        command = [program, *options, package.spec]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FetchError(f"{name} {options[0]} {package.spec} failed: {_reason(done.stderr)}")
        (part,) = Path(place).glob(f"*{target.suffix}")
        if (found := sha256(part)) != package.sha256:
            raise FetchError(f"{package.spec}: SHA-256 is {found}, expected {package.sha256}: not used")
        return part.replace(target)


def unpack(archive: Path, wanted: Pattern[str]) -> dict[str, bytes]:
    """Returns the contents of the regular files whose path inside the package matches ``wanted`` as a whole.

    Nothing is written, so no path or link inside an archive can lead anywhere.
    """
    found = {}
    with _opened(archive) as box:
        for member in box:
            name = member.name.partition("/")[2]  # npm puts all under "package/", Debian under "./"
            file = box.extractfile(member) if member.isreg() and wanted.fullmatch(name) else None
            if file is not None:
                found[name] = file.read()
    return found


def _opened(archive: Path) -> tarfile.TarFile:
    """The tar that holds the files: of a Debian package the member data.tar of an ar archive (deb(5))."""
    if archive.suffix != ".deb":
        return tarfile.open(archive)
    with archive.open("rb") as file:
        file.seek(len(b"!<arch>\n"))
        while header := file.read(60):
            name, size = header[:16].decode().rstrip(" /"), int(header[48:58])
            if name.startswith("data.tar"):
                return tarfile.open(fileobj=io.BytesIO(file.read(size)))
            file.seek(size + size % 2, io.SEEK_CUR)
    raise FetchError(f"{archive}: it holds no data.tar, so it is no Debian package")


def wheel(name: str, version: str, hashes: tuple[str, ...], cache: Path, say: Say) -> ModuleType:
    """Imports ``name``, after fetching its wheel of that version into ``cache`` when it is not installed.

    A wheel is unpacked, not built: with ``--only-binary`` pip runs none of its code. ``hashes`` are the
    SHA-256 of the wheels of all platforms.

    Raises:
        FetchError: pip is missing or failed, or no wheel has one of the hashes.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        folder = cache / f"{name}-{version}-{sys.implementation.cache_tag}"
    if not (folder / name).is_dir():
        say(f"{name} {version}: installing into {folder}")
        _install(name, version, hashes, folder)
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _install(name: str, version: str, hashes: tuple[str, ...], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pip-", dir=folder.parent) as place:
        pins = Path(place, "pins.txt")
        pins.write_text(
            f"{name}=={version} {' '.join(f'--hash=sha256:{value}' for value in hashes)}\n", "utf-8"
        )
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", f"{place}/it"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "-r", str(pins)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FetchError(f"{name} {version} is not installed, nor can pip: {_reason(done.stderr)}")
        Path(place, "it").rename(folder)


def _reason(stderr: str) -> str:
    """The first lines of a client's complaint as one line, without its prefixes."""
    lines = [re.sub(r"^(npm error|ERROR:|E:)", "", line).strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("WARNING", "[notice]", "W:"))]
    return "; ".join(lines[:2]) or "it said nothing"
