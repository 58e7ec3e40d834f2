from collections.abc import Callable
from pathlib import Path

import pytest

from mmdiff.data import films


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def frames_decoded(monkeypatch) -> Callable[[], int]:
    """Tells how many frames of films were decoded since it was asked last."""
    count, frames = 0, films._frames

    def counted(*arguments):
        nonlocal count
        for frame in frames(*arguments):
            count += 1
            yield frame

    def told() -> int:
        nonlocal count
        since, count = count, 0
        return since

    monkeypatch.setattr(films, "_frames", counted)
    return told
