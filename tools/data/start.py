"""How the commands beside it begin, from any folder, with the Python that mmdiff is installed in."""

import sys
from importlib import import_module
from pathlib import Path


def run(name: str) -> None:
    """Runs a builder by name and ends the process with its exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    try:
        main = import_module(f"tools.data.build_{name}").main
    except ModuleNotFoundError as error:
        sys.exit(f"{name}: {error}: run it with the Python that mmdiff is installed in (pip install -e .)")
    sys.exit(main())
