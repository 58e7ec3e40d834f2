"""Distributions whose denoiser, trajectories and moments are known exactly."""

import math

import torch
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import HISTORY, NOISE, X0, Program


class Mixture:
    """Isotropic Gaussians on a circle: ``p(x0) = sum_k w_k N(mean_k, var_k I)`` in two dimensions, [b 2]."""

    def __init__(self, parts: int = 4, spread: float = 0.25) -> None:
        angle = torch.arange(parts).double() * 2 * math.pi / parts + 0.3
        self.mean = 0.7 * torch.stack([angle.cos(), angle.sin()], 1)
        self.var = spread**2 * torch.linspace(0.5, 1.5, parts).double()
        self.log_weight = torch.log_softmax(torch.linspace(0, 0.7, parts).double(), 0)

    def denoise(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """The posterior mean of x0, finite at alpha = 0 and sigma = 0, in the dtype of x."""
        mean, var, log_weight = (v.to(x) for v in (self.mean, self.var, self.log_weight))
        alpha, sigma = (v.to(x)[:, None] for v in level)
        total = alpha**2 * var + sigma**2  # [b k]
        away = x[:, None] - alpha[..., None] * mean  # [b k 2]
        logit = log_weight - 0.5 * away.square().sum(-1) / total - total.log()
        return (logit.softmax(1)[..., None] * (mean + (alpha * var / total)[..., None] * away)).sum(1)

    def solution(self, x: Tensor, first: float, last: float, steps: int = 4000) -> Tensor:
        """The ODE from rho = first, where ``x / alpha`` is x, to rho = last, by Runge-Kutta in log rho."""
        h = math.log(last / first) / steps

        def slope(x: Tensor, u: float) -> Tensor:
            rho = torch.full((len(x),), math.exp(u), dtype=torch.float64)
            return x - self.denoise(x, NoiseLevel(torch.ones_like(rho), rho))

        for i in range(steps):
            u = math.log(first) + i * h
            k1 = slope(x, u)
            k2 = slope(x + h / 2 * k1, u + h / 2)
            k3 = slope(x + h / 2 * k2, u + h / 2)
            k4 = slope(x + h * k3, u + h)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x


def moments(program: Program, mean: float, var: float) -> tuple[float, float]:
    """Mean and variance of the final x for data N(mean, var), x starting with the marginal of its level.

    The denoiser is affine, so the registers (x, saved, history) stay jointly Gaussian and a matrix moves
    their moments: weak errors of stochastic samplers without Monte Carlo.
    """
    size = 2 + HISTORY
    centre, cov = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    alpha, sigma = program.levels.at(0)
    centre[0], cov[0, 0] = alpha * mean, alpha**2 * var + sigma**2
    for alpha, sigma, matrix in zip(*program.levels, program.matrix, strict=True):
        gain = alpha * var / (alpha**2 * var + sigma**2)
        towards, fresh = matrix @ X0, matrix @ NOISE
        move = torch.zeros(size, size, dtype=torch.float64)
        move[:3] = matrix[:, :size]
        move[:3, 0] += towards * gain
        move[3:, 2:-1] = torch.eye(HISTORY - 1)
        centre = move @ centre
        centre[:3] += towards * (mean - gain * alpha * mean)
        cov = move @ cov @ move.T
        cov[:3, :3] += torch.outer(fresh, fresh)
    return float(centre[0]), float(cov[0, 0])


def rhos(first: float, last: float, steps: int, power: float = 7.0) -> Tensor:
    """``steps + 1`` values even in ``rho^(1 / power)``, with exact ends."""
    ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    rho = (first ** (1 / power) + ramp * (last ** (1 / power) - first ** (1 / power))) ** power
    rho[0], rho[-1] = first, last
    return rho
