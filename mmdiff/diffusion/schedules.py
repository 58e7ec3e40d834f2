"""Schedules: the clock ``t`` (0 = data, 1 = noise) to a noise level, in float64, exact at both ends.

A schedule is a curve drawn in a frame: ``curve(t)`` is a pair with the right ratio sigma / alpha,
``frame`` scales it to the schedule's normalisation.  That split makes ``Shifted`` one multiplication, lets a
grid ask for a rho without inverting the clock, and keeps ``alpha = 0`` and ``sigma = 0`` free of epsilons.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel

Numbers = Float[Tensor, "*n"]


class Schedule(ABC):
    """``t -> NoiseLevel``; rho grows with t, from 0 to a largest value that may be inf."""

    def __call__(self, t: Numbers) -> NoiseLevel:
        return self.frame(*self.curve(t.double()))

    def of_rho(self, rho: Numbers) -> NoiseLevel:
        """The level with ``sigma / alpha = rho``, in this schedule's frame; rho may lie beyond the curve."""
        return self.frame(1 / (1 + rho.double()), 1 / (1 + 1 / rho.double()))

    @property
    def ticks(self) -> int:
        """The length of the discrete clock, in which the grids trailing, leading and linspace count."""
        return 1000

    @abstractmethod
    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Any multiple of (alpha, sigma) at ``t``."""

    @abstractmethod
    def t_of_rho(self, rho: Numbers) -> Tensor:
        """The inverse, in [0, 1]; a rho beyond the curve gives 1."""

    @abstractmethod
    def frame(self, alpha: Tensor, sigma: Tensor) -> NoiseLevel:
        """The pair scaled to this schedule's normalisation."""


class Preserving(Schedule):
    """Schedules with ``alpha^2 + sigma^2 = 1``."""

    def frame(self, alpha: Tensor, sigma: Tensor) -> NoiseLevel:
        norm = torch.hypot(alpha, sigma)
        return NoiseLevel(alpha / norm, sigma / norm)


@dataclass(frozen=True)
class Linear(Preserving):
    """DDPM's linearly growing betas in continuous time (Song et al., 2021, arXiv:2011.13456, app. C).

    The defaults are DDPM's 1e-4 to 0.02, times its 1000 steps.  Ends at rho = 152, not at pure noise.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def decay(self, t: Tensor) -> Tensor:
        """``-log(alpha)``: half the integral of beta."""
        return t * (self.beta_min / 2 + t * (self.beta_max - self.beta_min) / 4)

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        decay = self.decay(t)
        return torch.exp(-decay), torch.sqrt(-torch.expm1(-2 * decay))

    def t_of_rho(self, rho: Tensor) -> Tensor:
        decay = torch.log1p(rho.double() ** 2) / 2
        decay = torch.minimum(decay, self.decay(torch.ones_like(decay)))
        half = self.beta_min / 2
        return 2 * decay / (half + torch.sqrt(half**2 + (self.beta_max - self.beta_min) * decay))


@dataclass(frozen=True)
class Cosine(Preserving):
    """A quarter circle, started ``offset`` late (Nichol & Dhariwal, 2021, arXiv:2102.09672, eq. 17)."""

    offset: float = 0.008

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        full = math.pi / 2 / (1 + self.offset)
        # alpha is their cosine as a sine; sigma^2 = sin^2(full) - alpha^2 without the cancellation at t = 0
        return torch.sin(full * (1 - t)), torch.sqrt(torch.sin(full * t) * torch.sin(full * (2 - t)))

    def t_of_rho(self, rho: Tensor) -> Tensor:
        full = torch.tensor(math.pi / 2 / (1 + self.offset), dtype=torch.float64)
        left, whole = (torch.atan2(full.sin(), torch.hypot(full.cos(), r)) for r in (rho.double(), 0 * full))
        return 1 - left / whole


@dataclass(frozen=True)
class Sigmoid(Preserving):
    """``alpha^2`` falls as a piece of the logistic curve (Chen, 2023, arXiv:2301.10972, alg. 1)."""

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0

    def logistic(self, t: Tensor) -> Tensor:
        return torch.sigmoid((self.start + (self.end - self.start) * t) / self.tau)

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        value, first, last = self.logistic(t), self.logistic(0 * t), self.logistic(0 * t + 1)
        return torch.sqrt(last - value), torch.sqrt(value - first)

    def t_of_rho(self, rho: Tensor) -> Tensor:
        first, last = self.logistic(torch.tensor([0.0, 1.0], dtype=torch.float64))
        value = torch.lerp(first, last, 1 / (1 + rho.double() ** -2))
        return (torch.logit(value) - torch.logit(first)) / (torch.logit(last) - torch.logit(first))


@dataclass(frozen=True)
class Edm(Schedule):
    """``alpha = 1`` and ``sigma = rho``, warped as the grid of Karras et al. (2022, arXiv:2206.00364, eq. 5).

    ``rho = rho_min ((1 + k t)^power - 1)``, their warp moved to start at exactly 0; k takes it to rho_max.
    """

    rho_min: float = 0.002
    rho_max: float = 80.0
    power: float = 7.0

    @property
    def k(self) -> float:
        return math.expm1(math.log1p(self.rho_max / self.rho_min) / self.power)

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), self.rho_min * torch.expm1(self.power * torch.log1p(self.k * t))

    def t_of_rho(self, rho: Tensor) -> Tensor:
        warped = torch.expm1(torch.log1p(rho.double() / self.rho_min) / self.power)
        return (warped / self.k).clamp(max=1.0)

    def frame(self, alpha: Tensor, sigma: Tensor) -> NoiseLevel:
        return NoiseLevel(torch.ones_like(alpha), sigma / alpha)


@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """The straight line ``alpha = 1 - t``, ``sigma = t`` (Liu et al., 2022, arXiv:2209.03003)."""

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def t_of_rho(self, rho: Tensor) -> Tensor:
        return 1 / (1 + 1 / rho.double())

    def frame(self, alpha: Tensor, sigma: Tensor) -> NoiseLevel:
        return NoiseLevel(alpha / (alpha + sigma), sigma / (alpha + sigma))


@dataclass(frozen=True)
class Table(Preserving):
    """A discrete table of ``alpha^2``, least noise first: entry i is ``t = (i + 1) / len``, t = 0 is data.

    Between entries the angle is linear in t: within a table the same as lambda to second order, and unlike
    lambda it has both ends (data, and zero terminal SNR).  Raises ValueError if the table does not fall.
    """

    alphas_cumprod: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.alphas_cumprod or not all(a > b >= 0 for a, b in pairwise((1.0, *self.alphas_cumprod))):
            raise ValueError("alphas_cumprod must fall, from below 1 to 0 or more")

    @property
    def ticks(self) -> int:
        return len(self.alphas_cumprod)

    def nodes(self) -> tuple[Tensor, Tensor]:
        """The clock and the angle, at data and at every entry."""
        squares = torch.tensor((1.0, *self.alphas_cumprod), dtype=torch.float64)
        return torch.arange(len(squares)).double() / self.ticks, torch.acos(squares.sqrt())

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        angle = interpolate(t, *self.nodes())
        return torch.sin(math.pi / 2 - angle), torch.sin(angle)  # 0 at a right angle, which cos is not

    def t_of_rho(self, rho: Tensor) -> Tensor:
        return interpolate(torch.atan(rho.double()), *reversed(self.nodes()))


@dataclass(frozen=True)
class Shifted(Schedule):
    """``base`` with ``shift`` times its rho: more noise at every ``t`` for a shift above 1.

    One operation for the shift of SD3 and FLUX, ``t' = s t / (1 + (s - 1) t)`` (Esser et al., 2024,
    arXiv:2403.03206, eq. 23), the resolution shift of simple diffusion, and data of another scale.
    """

    base: Schedule
    shift: float

    @property
    def ticks(self) -> int:
        return self.base.ticks

    def curve(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base.curve(t)
        return alpha, self.shift * sigma

    def t_of_rho(self, rho: Tensor) -> Tensor:
        return self.base.t_of_rho(rho / self.shift)

    def frame(self, alpha: Tensor, sigma: Tensor) -> NoiseLevel:
        return self.base.frame(alpha, sigma)


def interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """The line through the points (xs, ys), constant beyond them."""
    right = torch.searchsorted(xs, x).clamp(1, len(xs) - 1)
    share = ((x - xs[right - 1]) / (xs[right] - xs[right - 1])).clamp(0, 1)
    return torch.lerp(ys[right - 1], ys[right], share)


SCHEDULES: dict[str, type[Schedule]] = {
    "linear": Linear,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
    "edm": Edm,
    "rectified_flow": RectifiedFlow,
}
