"""Guidance: which branches a level needs, and how their estimates of x0 make one.

A branch is a row of the network call: "main" has all conditions of the request, "null" has none, and the name
of one stands for all but it.  All guidance acts on x0, where it means the same for every schedule and target.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel, spread

Own = tuple[tuple[str, float], ...]  # conditions and their scales


def has(branch: str, name: str) -> bool:
    """Whether a branch has a condition."""
    return branch not in ("null", name)


@runtime_checkable
class Guidance(Protocol):
    """``branches`` says what to evaluate at a level (0-dim), "main" first; ``combine`` takes the results."""

    def branches(self, level: NoiseLevel) -> tuple[str, ...]: ...

    def combine(self, x0s: tuple[Tensor, ...], level: NoiseLevel) -> Tensor: ...


@dataclass(frozen=True)
class ClassifierFree:
    """``null + scale * (main - null)`` (Ho & Salimans, 2022, arXiv:2207.12598, eq. 6 with scale = w + 1).

    Scale 1 is no guidance.  A condition with a scale of its own adds ``(own - scale) * (main - all but it)``,
    which costs a branch; for one of two conditions that is eq. 3 of Brooks et al., 2023, arXiv:2211.09800.
    """

    scale: float = 3.0
    each: Own = ()

    def branches(self, level: NoiseLevel) -> tuple[str, ...]:
        return ("main", *["null"] * (self.scale != 1), *(name for name, _ in self.each))

    def combine(self, x0s: tuple[Tensor, ...], level: NoiseLevel) -> Tensor:
        main, null = x0s[0], x0s[self.scale != 1]
        x0 = null + self.scale * (main - null)
        for (_, own), without in zip(self.each, x0s[len(x0s) - len(self.each) :], strict=True):
            x0 = x0 + (own - self.scale) * (main - without)
        return x0


@dataclass(frozen=True)
class Interval:
    """``base`` where ``low <= rho <= high``; elsewhere the main branch, which saves the other calls.

    Kynkaanniemi et al., 2024, arXiv:2404.07724; in rho, so that it does not move with steps or schedule.
    """

    base: Guidance = field(default_factory=ClassifierFree)
    low: float = 0.0
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"interval is ({self.low}, {self.high}); expected 0 <= low <= high, in rho")

    def at(self, level: NoiseLevel) -> Guidance:
        """The guidance that acts at this level."""
        return self.base if self.low <= level.rho <= self.high else ClassifierFree(1.0)

    def branches(self, level: NoiseLevel) -> tuple[str, ...]:
        return self.at(level).branches(level)

    def combine(self, x0s: tuple[Tensor, ...], level: NoiseLevel) -> Tensor:
        return self.at(level).combine(x0s, level)


@dataclass(frozen=True)
class Rescale:
    """``base`` drawn to the spread of the main branch (Lin et al., 2024, arXiv:2305.08891, eq. 15-16)."""

    base: Guidance = field(default_factory=ClassifierFree)
    phi: float = 0.7

    def __post_init__(self) -> None:
        if not 0 <= self.phi <= 1:
            raise ValueError(f"rescale is {self.phi}; expected 0 to 1")

    def branches(self, level: NoiseLevel) -> tuple[str, ...]:
        return self.base.branches(level)

    def combine(self, x0s: tuple[Tensor, ...], level: NoiseLevel) -> Tensor:
        guided = self.base.combine(x0s, level)
        # one sample at a time, because a batched reduction may round by its neighbours
        ratio = torch.stack([main.std() / mixed.std() for main, mixed in zip(x0s[0], guided, strict=True)])
        share = torch.lerp(torch.ones_like(ratio), ratio.nan_to_num(1.0, 1.0), self.phi)  # a blank one stays
        return guided * spread(share, guided)


def guide(
    scale: float, interval: tuple[float, float] | None = None, rescale: float = 0.0, each: Own = ()
) -> Guidance:
    """Classifier-free guidance with a scale, and those of ``each``, inside an interval of rho, rescaled."""
    guidance: Guidance = ClassifierFree(scale, each)
    guidance = Rescale(guidance, rescale) if rescale else guidance
    return Interval(guidance, *interval) if interval else guidance


GUIDANCE: dict[str, type[Guidance]] = {"cfg": ClassifierFree, "interval": Interval, "rescale": Rescale}
