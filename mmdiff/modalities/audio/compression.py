"""Compression of coefficients by a power, which keeps their sign or phase.

Coefficients of sound are far from normal: most are near zero, a few are huge. A power below 1 brings them
nearer to what a network and Gaussian noise can deal with, and is undone exactly.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def compress(x: Float[Tensor, "*a"], power: float) -> Float[Tensor, "*a"]:
    """``sign(x) |x|^power``; `expand` undoes it to a few units in the last place of x."""
    return x if power == 1 else torch.copysign(x.abs().pow(power), x)


def expand(y: Float[Tensor, "*a"], power: float) -> Float[Tensor, "*a"]:
    """``sign(y) |y|^(1/power)``."""
    return compress(y, 1 / power)


def compress_complex(z: Complex[Tensor, "*a"], power: float) -> Complex[Tensor, "*a"]:
    """``z |z|^(power - 1)``: the phase stays, and 0 stays 0."""
    if power == 1:
        return z
    size = z.abs()
    return z * torch.where(size > 0, size, 1).pow(power - 1)


def expand_complex(z: Complex[Tensor, "*a"], power: float) -> Complex[Tensor, "*a"]:
    """Undoes `compress_complex`."""
    return compress_complex(z, 1 / power)
