"""Files that are whole or absent: written beside the target, synced, then renamed over it.

Whatever interrupts a writer (a full disk, ``kill -9``, a lost machine), the target is the old file or the new
one. A killed writer leaves ``.NAME.tmp.PID`` behind; ``sweep`` removes those whose process is gone.
"""

import hashlib
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

_LEFTOVER = re.compile(r"\..+\.tmp\.(\d+)", re.DOTALL)


def there(path: str | Path) -> bool:
    """Whether there is a file of that name; of one too long for a file there is none."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def temporary(path: Path) -> Path:
    """The name under which this process prepares ``path``: same folder, hence same filesystem."""
    return path.with_name(f".{path.name}.tmp.{os.getpid()}")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path to write; it becomes ``path`` on leaving without error, else it is removed."""
    target = Path(path)
    part = temporary(target)
    try:
        yield part
        sync(part)
        part.replace(target)
        sync(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes ``data`` so that a reader sees the old file or the new one."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes ``text`` as UTF-8 so that a reader sees the old file or the new one."""
    write_bytes(path, text.encode())


def scratch(owner: object) -> IO[bytes]:
    """A file without a name to write and read, which is gone as soon as nothing refers to its owner."""
    closing = ExitStack()
    weakref.finalize(owner, closing.close)
    return closing.enter_context(tempfile.TemporaryFile())


def sync(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: str | Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(folder: str | Path) -> list[str]:
    """Removes the temporary files and folders of writers that no longer run; returns their names.

    Process ids are this machine's: call it where the writers run.
    """
    removed = []
    for part in sorted(Path(folder).iterdir()):
        match = _LEFTOVER.fullmatch(part.name)
        if match and not _runs(int(match[1])):
            remove(part)
            removed.append(part.name)
    return removed


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, if it is there; interrupted, it leaves no half folder."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not _LEFTOVER.fullmatch(path.name):
        path = path.rename(temporary(path))
    shutil.rmtree(path)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
