"""What every test shares: one thread, fixed seeds, hypothesis without a clock, and fresh interpreters."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

import_module("tests.typechecker")  # jaxtyping looks it up as an attribute of ``tests``

# Before torch is imported: the tests are small, and more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHECKOUT = Path(__file__).parent.parent

hypothesis.settings.register_profile(
    "mmdiff",
    deadline=None,
    derandomize=True,
    max_examples=50,
    phases=set(hypothesis.Phase) - {hypothesis.Phase.explain},  # it takes minutes when a test fails
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("mmdiff")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Tests that draw without a generator of their own draw the same each time."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a fresh interpreter that finds this checkout: ``python("-m", "mmdiff", "--help")``."""

    def run(*words: str | Path, cwd: Path | None = None, **settings) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=250, **settings
        )

    return run
