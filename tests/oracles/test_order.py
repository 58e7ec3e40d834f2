"""Every sampler converges at the order it claims: trajectories for the ODE, moments for the SDE."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import FRESH, Program, run
from mmdiff.diffusion.samplers import ORDERS, SAMPLERS
from mmdiff.diffusion.schedules import Edm
from tests.oracles.mixture import Mixture, moments, rhos

FIRST, LAST = 80.0, 0.02
MIXTURE = Mixture()


def levels(steps: int) -> NoiseLevel:
    return Edm().of_rho(rhos(FIRST, LAST, steps))


def draws(sampler: Callable[..., Program]) -> bool:
    return bool(sampler(levels(2)).matrix[0, :, FRESH].any())


def observed(error: Callable[[int], float], steps: int) -> float:
    """The order seen when the steps double."""
    return math.log2(error(steps // 2) / error(steps))


@pytest.fixture(scope="module")
def problem() -> tuple[Tensor, Tensor]:
    """Noise, and the exact samples it becomes."""
    noise = torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return noise, MIXTURE.solution(FIRST * noise, FIRST, LAST)


DETERMINISTIC = [name for name in SAMPLERS if not draws(SAMPLERS[name])]
VARIANTS = {
    "dpmpp_2m(solver=midpoint)": (partial(SAMPLERS["dpmpp_2m"], solver="midpoint"), 2),
    "unipc_2(solver=midpoint)": (partial(SAMPLERS["unipc_2"], solver="midpoint"), 3),
    "lms(order=3)": (partial(SAMPLERS["lms"], order=3), 3),
}


@pytest.mark.parametrize("name", [*DETERMINISTIC, *VARIANTS])
def test_trajectories_converge_at_the_claimed_order(name: str, problem: tuple[Tensor, Tensor]) -> None:
    sampler, order = VARIANTS.get(name) or (SAMPLERS[name], ORDERS[name])
    noise, exact = problem

    def error(steps: int) -> float:
        return float((run(sampler(levels(steps)), MIXTURE.denoise, noise) - exact).square().mean().sqrt())

    assert observed(error, {1: 64, 2: 128}.get(order, 256)) == pytest.approx(order, abs=0.15)


NOISY = {name: (SAMPLERS[name], ORDERS[name]) for name in SAMPLERS if draws(SAMPLERS[name]) and name != "lcm"}
NOISY |= {
    "ddim(eta=0.5)": (partial(SAMPLERS["ddim"], eta=0.5), 1),
    "dpmpp_2m_sde(eta=0.5)": (partial(SAMPLERS["dpmpp_2m_sde"], eta=0.5), 2),
    "edm(churn=10)": (partial(SAMPLERS["edm"], churn=10.0), 2),
    "edm(churn=40, low=0.05, high=50)": (partial(SAMPLERS["edm"], churn=40.0, low=0.05, high=50.0), 2),
}


@pytest.mark.parametrize("name", NOISY)
def test_distributions_converge_at_the_claimed_order(name: str) -> None:
    sampler, order = NOISY[name]
    mean, var = 0.3, 0.25

    def error(steps: int) -> float:
        centre, spread = moments(sampler(levels(steps)), mean, var)
        assert centre == pytest.approx(mean, abs=1e-9)  # of a Gaussian, the mean is kept exactly
        return abs(spread / (var + LAST**2) - 1)

    assert observed(error, 512) == pytest.approx(order, abs=0.15)


def test_consistency_sampling_claims_nothing() -> None:
    assert [name for name, order in ORDERS.items() if order == 0] == ["lcm"]
