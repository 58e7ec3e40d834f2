"""Packages of the npm registry and of PyPI as plain data: fetched by name and version, checked, never run."""

import importlib
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

from mmdiff.errors import UserError
from mmdiff.files import sha256

Say = Callable[[str], None]  # shows one line of progress


class FetchError(RuntimeError):
    """A package could not be had, or is not the one that was asked for."""


@dataclass(frozen=True)
class Package:
    """One version of an npm package, and the SHA-256 of the tarball that the registry serves for it."""

    name: str
    version: str
    sha256: str
    megabytes: float

    @property
    def spec(self) -> str:
        """What npm calls it."""
        return f"{self.name}@{self.version}"

    @property
    def file_name(self) -> str:
        """What ``npm pack`` calls its tarball."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def fetch(package: Package, cache: Path, say: Say) -> Path:
    """Returns the tarball of ``package`` in ``cache``, downloaded unless the right one is there already.

    ``npm pack`` only stores what the registry serves: it unpacks nothing and runs no install script.

    Raises:
        UserError: npm is needed and not installed.
        FetchError: npm failed, or the tarball's SHA-256 is not the pinned one.
    """
    target = cache / package.file_name
    if target.exists() and sha256(target) == package.sha256:
        say(f"{package.spec}: in the cache")
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"{package.spec}: no {target}, and npm is not installed (Debian: apt install npm)")
    say(f"{package.spec}: downloading {package.megabytes:.1f} MB")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=cache) as place:
        options = ["--ignore-scripts", "--loglevel=error", "--pack-destination", "."]
        command = [npm, "pack", *options, package.spec]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FetchError(f"npm pack {package.spec} failed: {_reason(done.stderr)}")
        (part,) = Path(place).glob("*.tgz")
        if (found := sha256(part)) != package.sha256:
            raise FetchError(f"{package.spec}: SHA-256 is {found}, expected {package.sha256}: not used")
        return part.replace(target)


def unpack(tarball: Path, wanted: Pattern[str]) -> dict[str, bytes]:
    """Returns the contents of the regular files whose path inside the package matches ``wanted`` as a whole.

    Nothing is written, so no path or link inside a tarball can lead anywhere.
    """
    found = {}
    with tarfile.open(tarball) as box:
        for member in box:
            name = member.name.partition("/")[2]  # npm puts all under "package/"
            file = box.extractfile(member) if member.isreg() and wanted.fullmatch(name) else None
            if file is not None:
                found[name] = file.read()
    return found


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
        folder = cache / f"{name}-{version}"
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
    lines = [line.removeprefix("npm error").removeprefix("ERROR:").strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("WARNING", "[notice]"))]
    return "; ".join(lines[:2]) or "it said nothing"
