import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmdiff.diffusion import grids, samplers
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.programs import FRESH, NOISE, X0, Program, X, run
from mmdiff.diffusion.samplers import ORDERS, SAMPLERS
from mmdiff.diffusion.schedules import SCHEDULES, Cosine, Edm, RectifiedFlow
from tests.oracles.mixture import Mixture

every = pytest.mark.parametrize("name", SAMPLERS)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sample(program: Program) -> Tensor:
    return run(program, Mixture().denoise, noise(), lambda call: noise(call + 1))


@every
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_both_ends_are_exact(name: str, schedule: str, steps: int) -> None:
    program = SAMPLERS[name](grids.uniform(SCHEDULES[schedule](), steps))
    last = program.matrix[-1]
    torch.testing.assert_close(last[0], X0, rtol=0, atol=1e-12)  # the sample is the last estimate of x0
    assert not program.matrix[-1, :, FRESH].any()
    assert sample(program).isfinite().all()


@every
@settings(max_examples=4)
@given(x0=st.floats(-3, 3), steps=st.integers(1, 12))
def test_a_constant_estimate_is_reached_at_every_level(name: str, x0: float, steps: int) -> None:
    """If the denoiser always says the same, x keeps the marginal mean of every level it visits."""
    levels = grids.karras(Cosine(), steps)
    program = SAMPLERS[name](levels)
    start = torch.full((1, 1), x0 / 80.0, dtype=torch.float64)  # noise that vanishes into alpha x0
    x = run(program, lambda x, level: torch.full_like(x, x0), start, lambda call: torch.zeros(1, 1).double())
    assert float(x) == pytest.approx(x0, abs=1e-9)


@every
def test_calls_and_levels(name: str) -> None:
    levels = grids.karras(Edm(), 6)
    program = SAMPLERS[name](levels)
    inner = {"heun": 2, "edm": 2, "dpm": 2, "dpm2": 2, "dpm_2": 2, "dpm_3": 3}.get(name, 1)
    assert program.calls == 5 * inner + 1
    assert {*levels.sigma[:-1].tolist()} <= {*program.levels.sigma.tolist()}
    assert name in ORDERS


def same(*made: Program) -> None:
    for program in made[1:]:
        torch.testing.assert_close(program.matrix[:, 0], made[0].matrix[:, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", [Edm(), RectifiedFlow()])
def test_one_method_under_many_names(schedule: Edm | RectifiedFlow) -> None:
    levels = grids.uniform(schedule, 7)
    ode = ("ddim", "euler", "dpmpp_1", "deis_1", "dpm_1")
    same(*(SAMPLERS[name](levels) for name in ode), samplers.lms(levels, order=1))
    sde = ("ddpm", "euler_ancestral", "dpmpp_1_sde")
    same(*(SAMPLERS[name](levels) for name in sde), samplers.ddim(levels, eta=1.0))
    same(SAMPLERS["dpm2"](levels), samplers.dpm(levels))
    same(samplers.dpmpp(levels, 3, eta=0.0), SAMPLERS["dpmpp_3m"](levels))


def test_k_diffusions_ancestral_step() -> None:
    """Down to sigma_down, then noise of sigma_up, as k-diffusion computes them."""
    rho = torch.tensor([10.0, 3.0, 0.5, 0.0], dtype=torch.float64)
    program = SAMPLERS["euler_ancestral"](Edm().of_rho(rho))
    for i, (here, there) in enumerate(pairwise(rho.tolist())):
        up = min(there, math.sqrt(there**2 * (here**2 - there**2) / here**2))
        down = math.sqrt(there**2 - up**2)
        wanted = X + (X - X0) / here * (down - here) + up * NOISE
        torch.testing.assert_close(program.matrix[i, 0], wanted, rtol=1e-12, atol=1e-12)


def test_ddpm_has_the_posterior_of_the_paper() -> None:
    """Ho et al., 2020, eq. 7, in betas."""
    levels = Cosine().of_rho(torch.tensor([2.0, 0.7], dtype=torch.float64))
    bar, previous = (levels.alpha**2).tolist()
    beta = 1 - bar / previous
    mean = previous**0.5 * beta / (1 - bar) * X0 + (bar / previous) ** 0.5 * (1 - previous) / (1 - bar) * X
    wanted = mean + math.sqrt((1 - previous) / (1 - bar) * beta) * NOISE
    torch.testing.assert_close(SAMPLERS["ddpm"](levels).matrix[0, 0], wanted, rtol=1e-12, atol=1e-12)


def test_lcm_jumps_to_the_estimate_and_adds_noise_of_the_next_level() -> None:
    levels = Cosine().of_rho(torch.tensor([2.0, 0.7], dtype=torch.float64))
    alpha, sigma = levels.alpha[1], levels.sigma[1]
    torch.testing.assert_close(SAMPLERS["lcm"](levels).matrix[0, 0], alpha * X0 + sigma * NOISE)


def x0_at(x: Tensor, alpha: float, sigma: float) -> Tensor:
    level = NoiseLevel(*torch.tensor([alpha, sigma], dtype=torch.float64)).expand(len(x))
    return Mixture().denoise(x, level)


def test_heun_is_heun_on_the_rectified_flow() -> None:
    """The plain trapezoid of dx/dt = eps - x0 in t, from pure noise."""
    t = [1.0, 0.7, 0.3, 0.0]
    x = noise()
    for here, there in pairwise(t):
        slope = (x - x0_at(x, 1 - here, here)) / here
        ahead = x + (there - here) * slope
        if there:
            ahead = x + (there - here) * (slope + (ahead - x0_at(ahead, 1 - there, there)) / there) / 2
        x = ahead
    ours = sample(SAMPLERS["heun"](RectifiedFlow()(torch.tensor(t, dtype=torch.float64))))
    torch.testing.assert_close(ours, x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_dpm_is_the_papers_algorithm(order: int) -> None:
    """Lu et al., 2022 (DPM-Solver), algorithms 1 and 2 in the frame alpha = 1, where lambda = -log(rho)."""
    rho = [20.0, 4.0, 0.5]

    def eps(x: Tensor, at: float) -> Tensor:
        return (x - x0_at(x, 1.0, at)) / at

    x = rho[0] * noise()
    for here, there in pairwise(rho):
        h = math.log(here / there)
        if order == 2:
            middle = here * math.exp(-h / 2)
            u = x - middle * math.expm1(h / 2) * eps(x, here)
            x = x - there * math.expm1(h) * eps(u, middle)
            continue
        r1, r2 = 1 / 3, 2 / 3
        s1, s2 = (here * math.exp(-r * h) for r in (r1, r2))
        first = eps(x, here)
        u = x - s1 * math.expm1(r1 * h) * first
        change = eps(u, s1) - first
        gain = math.expm1(r2 * h) / (r2 * h) - 1
        u = x - s2 * math.expm1(r2 * h) * first - s2 * r2 / r1 * gain * change
        change = eps(u, s2) - first
        x = x - there * math.expm1(h) * first - there / r2 * (math.expm1(h) / h - 1) * change
    ours = sample(samplers.dpm(Edm().of_rho(torch.tensor(rho, dtype=torch.float64)), order))
    torch.testing.assert_close(ours, x, rtol=1e-9, atol=1e-9)


def test_edm_with_churn_is_the_papers_algorithm() -> None:
    """Karras et al., 2022, algorithm 2, with the first level raised at the start."""
    rho, churn, low, high, inflate = [20.0, 6.0, 1.0, 0.2, 0.0], 1.2, 0.5, 10.0, 1.01
    levels = Edm().of_rho(torch.tensor(rho, dtype=torch.float64))
    ours = sample(samplers.edm(levels, churn=churn, low=low, high=high, inflate=inflate))

    x, drawn = rho[0] * noise(), 0
    for i, (here, there) in enumerate(pairwise(rho)):
        gamma = min(churn / 4, math.sqrt(2) - 1) if low <= here <= high else 0.0
        raised = here * (1 + gamma)
        x = x + inflate * math.sqrt(raised**2 - here**2) * (noise(drawn) if i else 0.0)
        slope = (x - x0_at(x, 1.0, raised)) / raised
        ahead = x + (there - raised) * slope
        if there:
            ahead = x + (there - raised) * (slope + (ahead - x0_at(ahead, 1.0, there)) / there) / 2
        x, drawn = ahead, drawn + 2
    torch.testing.assert_close(ours, x, rtol=1e-9, atol=1e-9)


def test_churn_raises_the_first_level() -> None:
    program = samplers.edm(grids.karras(Edm(), 4), churn=1.0)
    assert float(program.levels.sigma[0]) == pytest.approx(80.0 * 1.25)
    assert program.matrix[:, :, FRESH].any(1).tolist() == [False, True] * 3 + [False]


def test_quadrature_is_exact_to_rounding() -> None:
    """Polynomials times an exponential that falls by e^20, against the antiderivative."""
    nodes = torch.tensor([0.0, -1.0, -2.5], dtype=torch.float64)
    end = torch.tensor(1.0, dtype=torch.float64)
    for rate in (0.01, 1.0, 20.0):
        got = samplers.integrals(lambda u, rate=rate: torch.exp(-rate * (end - u)), nodes, end)
        moments = [-math.expm1(-rate) / rate]
        for k in (1, 2):
            moments.append((1 - k * moments[-1]) / rate)
        for power, moment in enumerate(moments):
            assert float((got * nodes**power).sum()) == pytest.approx(moment, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda levels: samplers.ddim(levels, eta=1.5), "eta is 1.5; expected 0 to 1"),
        (lambda levels: samplers.dpmpp(levels, 5), "order is 5; expected one of 1, 2, 3, 4"),
        (
            lambda levels: samplers.dpmpp(levels, solver="best"),
            "solver is 'best'; expected one of exact, midpoint",
        ),
        (lambda levels: samplers.unipc(levels, 4), "order is 4; expected one of 1, 2, 3"),
        (lambda levels: samplers.dpm(levels, 0), "order is 0; expected one of 1, 2, 3"),
        (
            lambda levels: samplers.ddim(levels.expand(4)),
            "rho is 1 at level 0 and then 1; expected it to fall",
        ),
        (lambda levels: samplers.ddim(NoiseLevel(levels.alpha[:1], levels.sigma[:1])), "levels has length 1"),
    ],
)
def test_errors(call, message: str) -> None:
    levels = RectifiedFlow().of_rho(torch.tensor([1.0], dtype=torch.float64))
    if "rho" not in message and "length" not in message:
        levels = grids.uniform(RectifiedFlow(), 4)
    with pytest.raises(ValueError, match=message):
        call(levels)
