"""Grids: where on a schedule a sampler steps.

A grid gives ``steps + 1`` levels, from much noise down to ``sigma = 0`` exactly.  One that is even in the
clock starts where the schedule does, at pure noise if it has that; one that is defined in rho needs a finite
start, which is 80 unless the schedule ends before.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmdiff.diffusion import named
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.schedules import Schedule

RHO_MAX, RHO_MIN = 80.0, 0.002  # of EDM, made for data of spread 0.5 (Karras et al., 2022, tab. 1)


def highest(schedule: Schedule, rho_max: float | None) -> float:
    """``rho_max`` if given, or the schedule's largest rho up to 80."""
    return min(float(schedule(torch.ones(())).rho), RHO_MAX) if rho_max is None else rho_max


def ramp(steps: int, whole: int) -> Tensor:
    """0, 1, 2, ... ``steps`` numbers, in parts of the whole."""
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected 1 or more")
    return torch.arange(steps).double() / max(whole, 1)


def ended(values: Tensor) -> Tensor:
    """The values, and 0 at the end."""
    return torch.cat([values, values.new_zeros(1)])


def karras(
    schedule: Schedule, steps: int, rho_max: float | None = None, rho_min: float = RHO_MIN, power: float = 7.0
) -> NoiseLevel:
    """Even in ``rho^(1 / power)`` (Karras et al., 2022, arXiv:2206.00364, eq. 5)."""
    top, low = (rho ** (1 / power) for rho in (highest(schedule, rho_max), rho_min))
    return schedule.of_rho(ended((top + ramp(steps, steps - 1) * (low - top)) ** power))


def exponential(
    schedule: Schedule, steps: int, rho_max: float | None = None, rho_min: float = RHO_MIN
) -> NoiseLevel:
    """Even in log(rho)."""
    top = highest(schedule, rho_max)
    return schedule.of_rho(ended(top * torch.pow(rho_min / top, ramp(steps, steps - 1))))


def logsnr(schedule: Schedule, steps: int, t_max: float = 1.0, t_min: float = 1e-3) -> NoiseLevel:
    """Even in logsnr between two times (Lu et al., 2022, arXiv:2206.00927, sec. 3.3), and then data."""
    first, last = schedule(torch.tensor([t_max, t_min], dtype=torch.float64)).rho.tolist()
    return exponential(schedule, steps, min(first, RHO_MAX), last)


def rho(schedule: Schedule, steps: int, rho_max: float | None = None) -> NoiseLevel:
    """Even in rho."""
    return schedule.of_rho(ended(highest(schedule, rho_max) * (1 - ramp(steps, steps))))


def uniform(schedule: Schedule, steps: int) -> NoiseLevel:
    """Even in t."""
    return schedule(ended(1 - ramp(steps, steps)))


def discrete(schedule: Schedule, index: Tensor) -> NoiseLevel:
    """The levels at entries of the schedule's discrete clock, and then data."""
    if (index.diff() >= 0).any() or index[-1] < 0 or index[0] >= schedule.ticks:
        raise ValueError(
            f"{len(index)} steps do not fit the discrete clock, which has {schedule.ticks} ticks"
        )
    return schedule(ended((index + 1) / schedule.ticks))


def trailing(schedule: Schedule, steps: int) -> NoiseLevel:
    """Every (ticks / steps)-th entry, back from the last (Lin et al., 2024, arXiv:2305.08891, tab. 2)."""
    return discrete(schedule, torch.round(schedule.ticks - ramp(steps, steps) * schedule.ticks) - 1)


def leading(schedule: Schedule, steps: int, offset: int = 0) -> NoiseLevel:
    """Every (ticks // steps)-th entry from the first, or ``offset``: DDIM's, which skips the noisiest."""
    return discrete(schedule, ramp(steps, 1).flip(0) * (schedule.ticks // steps) + offset)


def linspace(schedule: Schedule, steps: int) -> NoiseLevel:
    """Entries evenly from the last to the first; one step takes the last."""
    return discrete(schedule, torch.round((schedule.ticks - 1) * (1 - ramp(steps, steps - 1))))


def custom(schedule: Schedule, steps: int, rho: Sequence[float] = ()) -> NoiseLevel:
    """The given values of rho, and then data unless the last is 0."""
    values = torch.tensor([value for value in rho if value != 0], dtype=torch.float64)
    if len(values) != steps:
        raise ValueError(f"rho has {len(values)} values above 0; expected one for each of {steps} steps")
    return schedule.of_rho(ended(values))


GRIDS: dict[str, Callable[..., NoiseLevel]] = named(
    karras, exponential, logsnr, rho, uniform, trailing, leading, linspace, custom
)
