"""Tests that need what not every machine has."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec

import pytest


def needs(*packages: str, programs: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Runs a test only where all of these are installed; the report names those that are not."""
    missing = [name for name in packages if find_spec(name) is None]
    missing += [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
