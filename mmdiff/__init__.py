"""Multi-modal diffusion: train and sample images and sound with one core; importing this is quick.

``mmdiff.train(recipe, data=...)`` trains and returns the run folder; ``mmdiff.load(run)`` gives a pipeline
whose ``sample`` yields pictures, sounds or clips.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmdiff.generation.pipeline import load
    from mmdiff.training import train

__version__ = "0.1.0"
__all__ = ["__version__", "load", "train"]

# Where each public name lives; torch and lightning are imported when one of them is first used.
_HOMES = {"load": "mmdiff.generation.pipeline", "train": "mmdiff.training"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmdiff' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
