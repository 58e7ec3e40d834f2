"""The mathematics of diffusion: pure functions on tensors, which draw no random number and open no file.

Read level, schedules, targets and denoiser for training; programs and samplers for generation.
"""

from typing import Any


def named(*functions: Any) -> dict[str, Any]:
    """Functions by their names, as recipes write them."""
    return {function.__name__: function for function in functions}
