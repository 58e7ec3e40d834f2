"""Grids: where on a schedule a sampler steps.

A grid gives ``steps + 1`` levels, from much noise down to ``sigma = 0`` exactly.  One that is even in the
clock starts where the schedule does, at pure noise if it has that; one that is defined in rho needs a finite
start, which is 80 unless the schedule ends before.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.schedules import Schedule

RHO_MAX, RHO_MIN = 80.0, 0.002  # of EDM, made for data of spread 0.5 (Karras et al., 2022, tab. 1)


def highest(schedule: Schedule, rho_max: float | None) -> float:
    """``rho_max`` if given, or the schedule's largest rho up to 80."""
    return min(float(schedule(torch.ones(())).rho), RHO_MAX) if rho_max is None else rho_max


def count(steps: int) -> Tensor:
    """0 to ``steps - 1``."""
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected 1 or more")
    return torch.arange(steps).double()


def ramp(steps: int) -> Tensor:
    """``steps`` numbers from 0 to 1; one step is [0]."""
    return count(steps) / max(steps - 1, 1)


def down(schedule: Schedule, rho: Tensor) -> NoiseLevel:
    """The levels at ``rho``, and then data."""
    return schedule.of_rho(torch.cat([rho, rho.new_zeros(1)]))


def karras(
    schedule: Schedule, steps: int, rho_max: float | None = None, rho_min: float = RHO_MIN, power: float = 7.0
) -> NoiseLevel:
    """Even in ``rho^(1 / power)`` (Karras et al., 2022, arXiv:2206.00364, eq. 5)."""
    top, low = (rho ** (1 / power) for rho in (highest(schedule, rho_max), rho_min))
    return down(schedule, (top + ramp(steps) * (low - top)) ** power)


def exponential(
    schedule: Schedule, steps: int, rho_max: float | None = None, rho_min: float = RHO_MIN
) -> NoiseLevel:
    """Even in log(rho)."""
    top = highest(schedule, rho_max)
    return down(schedule, top * torch.pow(rho_min / top, ramp(steps)))


def logsnr(schedule: Schedule, steps: int, t_max: float = 1.0, t_min: float = 1e-3) -> NoiseLevel:
    """Even in logsnr between two times (Lu et al., 2022, arXiv:2206.00927, sec. 3.3), and then data."""
    first, last = schedule(torch.tensor([t_max, t_min], dtype=torch.float64)).rho.tolist()
    return exponential(schedule, steps, min(first, RHO_MAX), last)


def rho(schedule: Schedule, steps: int, rho_max: float | None = None) -> NoiseLevel:
    """Even in rho."""
    return schedule.of_rho(highest(schedule, rho_max) * (1 - ramp(steps + 1)))


def uniform(schedule: Schedule, steps: int) -> NoiseLevel:
    """Even in t."""
    return schedule(1 - ramp(steps + 1))


def discrete(schedule: Schedule, index: Tensor) -> NoiseLevel:
    """The levels at entries of the schedule's discrete clock, and then data."""
    if (index.diff() >= 0).any() or index[-1] < 0 or index[0] >= schedule.ticks:
        raise ValueError(
            f"{len(index)} steps do not fit the discrete clock, which has {schedule.ticks} ticks"
        )
    return schedule(torch.cat([(index + 1) / schedule.ticks, index.new_zeros(1)]))


def trailing(schedule: Schedule, steps: int) -> NoiseLevel:
    """Every (ticks / steps)-th entry, back from the last (Lin et al., 2024, arXiv:2305.08891, tab. 2)."""
    return discrete(schedule, torch.round(schedule.ticks - count(steps) * (schedule.ticks / steps)) - 1)


def leading(schedule: Schedule, steps: int, offset: int = 0) -> NoiseLevel:
    """Every (ticks // steps)-th entry from the first, or ``offset``: DDIM's, which skips the noisiest."""
    return discrete(schedule, count(steps).flip(0) * (schedule.ticks // steps) + offset)


def linspace(schedule: Schedule, steps: int) -> NoiseLevel:
    """Entries evenly from the last to the first; one step takes the last."""
    return discrete(schedule, torch.round((schedule.ticks - 1) * (1 - ramp(steps))))


def custom(schedule: Schedule, steps: int, rho: Sequence[float] = ()) -> NoiseLevel:
    """The given values of rho, and then data unless the last is 0."""
    values = torch.tensor([value for value in rho if value != 0], dtype=torch.float64)
    if len(values) != steps:
        raise ValueError(f"rho has {len(values)} values above 0; expected one for each of {steps} steps")
    return down(schedule, values)


GRIDS: dict[str, Callable[..., NoiseLevel]] = {
    "karras": karras,
    "exponential": exponential,
    "logsnr": logsnr,
    "rho": rho,
    "uniform": uniform,
    "trailing": trailing,
    "leading": leading,
    "linspace": linspace,
    "custom": custom,
}
