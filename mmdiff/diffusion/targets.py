"""Targets: what the network predicts, and the one 2x2 solve that gives x0 back.

The network predicts ``F = p * x0 + q * eps``.  With ``x = alpha * x0 + sigma * eps`` these are two equations
for x0.  p and q depend on sigma / alpha alone, so a trained network can be used with any schedule.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel

Pair = tuple[Tensor, Tensor]
Target = Callable[[NoiseLevel, float], Pair]  # (level, sigma_data) -> (p, q)


def x0(level: NoiseLevel, sigma_data: float) -> Pair:
    """The data."""
    return torch.ones_like(level.alpha), torch.zeros_like(level.alpha)


def eps(level: NoiseLevel, sigma_data: float) -> Pair:
    """The noise (Ho et al., 2020, arXiv:2006.11239, eq. 14); impossible at alpha = 0."""
    return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


def v(level: NoiseLevel, sigma_data: float) -> Pair:
    """``alpha eps - sigma x0`` (Salimans & Ho, 2022, arXiv:2202.00512, app. D), of unit length."""
    norm = torch.hypot(level.alpha, level.sigma)
    return -level.sigma / norm, level.alpha / norm


def flow(level: NoiseLevel, sigma_data: float) -> Pair:
    """``eps - x0``, the velocity of the straight line (Liu et al., 2022, arXiv:2209.03003, eq. 1)."""
    return -torch.ones_like(level.alpha), torch.ones_like(level.alpha)


def edm(level: NoiseLevel, sigma_data: float) -> Pair:
    """The unit-variance target of EDM's preconditioning (Karras et al., 2022, arXiv:2206.00364, eq. 8)."""
    norm = torch.hypot(level.alpha * sigma_data, level.sigma)
    return level.sigma / (sigma_data * norm), -sigma_data * level.alpha / norm


def solve(level: NoiseLevel, p: Tensor, q: Tensor) -> Pair:
    """``(skip, out)`` with ``x0 = skip * x + out * F``; at sigma = 0 the data is in x, whatever F is."""
    determinant = level.alpha * q - level.sigma * p
    skip = torch.where(level.sigma > 0, q / determinant, 1 / level.alpha)
    return skip, torch.where(level.sigma > 0, -level.sigma / determinant, 0.0)


TARGETS: dict[str, Target] = {"x0": x0, "eps": eps, "v": v, "flow": flow, "edm": edm}
