"""Compression of coefficients by a power, which keeps their sign or phase.

Coefficients of sound are far from normal: most are near zero, a few are huge. A power below 1 brings them
nearer to what a network and Gaussian noise can deal with, and is undone exactly.

Measured on 100 notes of 24 instruments at 16 kHz, mdct of 256 bins, whitened per bin: the kurtosis (3 for
normal numbers) is 366 for power 1, 145 for 0.75, 34 for 0.5, 16 for 0.4, 7 for 0.3 and 3 for 0.2. An error of
0.1 in every coefficient leaves a wave of 15.5, 23.1, 24.7, 22.6, 19.5 and 14.1 dB. Hence 0.4: half the
kurtosis of 0.5, for 2 dB.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

DEFAULT_POWER = 0.4


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
