"""The mathematics of diffusion: pure functions on tensors, which draw no random number and open no file.

Read level, schedules, targets and denoiser for training; programs and samplers for generation.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def named(*functions: Function) -> dict[str, Function]:
    """Functions by their names, as recipes write them."""
    return {function.__name__: function for function in functions}
