import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.schedules import SCHEDULES, Cosine, Edm, Linear, RectifiedFlow, Schedule
from mmdiff.diffusion.weights import DENSITIES, WEIGHTS, Uncertainty, log_normal, low_discrepancy, min_snr

t64 = torch.tensor([0.05, 0.3, 0.5, 0.7, 0.95], dtype=torch.float64)


class Net(nn.Module):
    """A linear layer that sees x and the angle."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, x: Tensor, angle: Tensor, condition: object, valid: object = None) -> Tensor:
        return torch.tanh(self.layer(x)) + torch.cos(angle.double())[:, None]


Loss = Callable[[Tensor, NoiseLevel, Tensor, Tensor], Tensor]  # (F, level, x0, eps) -> [b], of the paper


def error(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().mean(1)


def x0_of(out: Tensor, level: NoiseLevel, x0: Tensor, eps: Tensor) -> Tensor:
    """The data that a prediction of eps stands for."""
    alpha, sigma = (v[:, None] for v in level)
    return (alpha * x0 + sigma * eps - sigma * out) / alpha


def edm_loss(out: Tensor, level: NoiseLevel, x0: Tensor, eps: Tensor) -> Tensor:
    """EDM, eq. 7 and 8 and table 1, to the letter."""
    sigma, data = level.sigma[:, None], 0.5
    c_skip = data**2 / (sigma**2 + data**2)
    c_out = sigma * data / (data**2 + sigma**2).sqrt()
    weight = (sigma**2 + data**2) / (sigma * data) ** 2
    return (weight * (c_skip * (x0 + sigma * eps) + c_out * out - x0) ** 2).mean(1)


def v_of(level: NoiseLevel, x0: Tensor, eps: Tensor) -> Tensor:
    return level.alpha[:, None] * eps - level.sigma[:, None] * x0


def sid2_loss(out: Tensor, level: NoiseLevel, x0: Tensor, eps: Tensor) -> Tensor:
    """-1/2 dlogsnr/dt e^b sigmoid(logsnr - b) |x0 error|^2 with uniform t on the cosine schedule."""
    t = t64.clone().requires_grad_()
    (speed,) = torch.autograd.grad((-2 * torch.log(torch.tan(math.pi / 2 * t))).sum(), t)
    weight = -0.5 * speed * math.exp(-3.0) * torch.sigmoid(level.logsnr + 3.0)
    return weight * error(x0_of(out, level, x0, eps), x0)


def snr(level: NoiseLevel) -> Tensor:
    return (level.alpha / level.sigma) ** 2


CIRCLE = Cosine(offset=0.0)
PUBLISHED: dict[str, tuple[str, str, Schedule, dict, Loss]] = {
    "DDPM": ("eps_simple", "eps", Linear(), {}, lambda out, level, x0, eps: error(out, eps)),
    "v": ("v", "v", Linear(), {}, lambda out, level, x0, eps: error(out, v_of(level, x0, eps))),
    "EDM": ("edm", "edm", Edm(), {}, edm_loss),
    "flow matching": (
        "velocity",
        "flow",
        RectifiedFlow(),
        {},
        lambda out, level, x0, eps: error(out, eps - x0),
    ),
    "min-SNR, eps": (
        "min_snr",
        "eps",
        Linear(),
        {},
        lambda out, level, x0, eps: snr(level).clamp(max=5) / snr(level) * error(out, eps),
    ),
    "min-SNR, v": (
        "min_snr",
        "v",
        Linear(),
        {},
        lambda out, level, x0, eps: (
            snr(level).clamp(max=5) / (snr(level) + 1) * error(out, v_of(level, x0, eps))
        ),
    ),
    "min-SNR, x0": (
        "min_snr",
        "x0",
        Linear(),
        {"gamma": 3.0},
        lambda out, level, x0, eps: snr(level).clamp(max=3) * error(out, x0),
    ),
    "soft min-SNR": (
        "soft_min_snr",
        "x0",
        Edm(),
        {},
        lambda out, level, x0, eps: error(out, x0) / (level.sigma**2 + 0.5**2),
    ),
    "P2": (
        "p2",
        "eps",
        Linear(),
        {"gamma": 0.5},
        lambda out, level, x0, eps: error(out, eps) / (1 + snr(level)) ** 0.5,
    ),
    "sigmoid": ("sigmoid", "eps", CIRCLE, {}, sid2_loss),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_gradients_equal_those_of_the_published_loss(name: str) -> None:
    weight, target, schedule, options, published = PUBLISHED[name]
    torch.manual_seed(0)
    net, level = Net(), schedule(t64)
    x0, eps = torch.randn(2, 5, 4, dtype=torch.float64)
    denoise = Denoiser(net, target)
    loss = denoise.loss(x0, eps, level, None, lambda level: WEIGHTS[weight](level, **options))
    known, x = denoise.coefficients(level), level.mix(x0, eps)
    wanted = published(denoise.predict(known[:, :1] * x, known, None), level, x0, eps)
    torch.testing.assert_close(loss, wanted, rtol=1e-9, atol=0.0)
    parameters = list(net.parameters())
    ours, theirs = (torch.autograd.grad(v.sum(), parameters) for v in (loss, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)


def test_every_weight_is_published() -> None:
    assert {weight for weight, *_ in PUBLISHED.values()} == set(WEIGHTS)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_know_rho_alone(weight: str) -> None:
    level = CIRCLE(t64)
    other = NoiseLevel(3 * level.alpha, 3 * level.sigma)
    torch.testing.assert_close(WEIGHTS[weight](other), WEIGHTS[weight](level))


def test_uncertainty_learns_the_expected_loss() -> None:
    level, uncertainty = CIRCLE(t64), Uncertainty(8).double()
    loss = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.25], dtype=torch.float64)
    assert torch.equal(uncertainty(loss, level), loss)
    optimiser = torch.optim.LBFGS(uncertainty.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = uncertainty(loss, level).sum()
        total.backward()
        return total

    optimiser.step(closure)
    torch.testing.assert_close(uncertainty(loss, level), 1 + loss.log(), rtol=1e-3, atol=1e-3)
    ends = NoiseLevel(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())
    assert uncertainty(torch.ones(2), ends).isfinite().all()


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_densities_give_times(density: str, schedule: str) -> None:
    u = low_discrepancy(0, torch.arange(4096))
    t = DENSITIES[density](SCHEDULES[schedule](), u)
    assert ((t >= 0) & (t <= 1)).all()
    assert t.dtype == torch.float64
    assert t.std() > 0.05


def test_densities_are_the_published_ones() -> None:
    u = low_discrepancy(3, torch.arange(20000))
    flow = RectifiedFlow()
    logs = Edm()(log_normal(Edm(), u, mean=-1.2, std=1.2)).rho.log()
    assert [float(logs.mean()), float(logs.std())] == pytest.approx([-1.2, 1.2], abs=2e-3)
    logits = torch.logit(DENSITIES["logit_normal"](flow, u, mean=0.5, std=0.7))
    assert [float(logits.mean()), float(logits.std())] == pytest.approx([0.5, 0.7], abs=2e-3)
    cosine = DENSITIES["cosine"](flow, u)
    torch.testing.assert_close(cosine, 1 - 1 / (torch.tan(math.pi / 2 * u) + 1))  # SD3, eq. 21
    angles = CIRCLE(DENSITIES["cosine"](CIRCLE, u)).angle()
    torch.testing.assert_close(angles, math.pi / 2 * u)
    assert torch.equal(DENSITIES["uniform"](flow, u), u)
    quarters = DENSITIES["mode"](flow, torch.tensor([0.1, 0.25, 0.5, 0.9]).double(), scale=0.8)
    assert quarters.tolist() == pytest.approx([0.839577, 0.667157, 0.5, 0.160423], abs=1e-6)
    torch.testing.assert_close(DENSITIES["mode"](flow, u, scale=0.0), 1 - u)


@given(st.integers(0, 2**63), st.integers(0, 2**62))
def test_low_discrepancy_is_exact_arithmetic(seed: int, index: int) -> None:
    first, here = low_discrepancy(seed, torch.tensor([0, index]))
    assert 0 < float(here) < 1
    turn = int(index) * 0x9E3779B97F4A7C15 % 2**64 / 2**64
    gap = (float(here - first) - turn) % 1
    assert min(gap, 1 - gap) < 1e-12


def test_low_discrepancy_does_not_depend_on_chunking() -> None:
    index = torch.arange(1000) + 10**12
    whole = low_discrepancy(7, index)
    assert torch.equal(torch.cat([low_discrepancy(7, part) for part in index.split(37)]), whole)
    assert torch.equal(low_discrepancy(7, index[5::8]), whole[5::8])
    assert not torch.equal(low_discrepancy(8, index), whole)


@pytest.mark.parametrize("every", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [0, 10**9])
def test_low_discrepancy_covers_more_evenly_than_chance(start: int, every: int) -> None:
    n = 256
    u = low_discrepancy(1, start + every * torch.arange(n)).sort().values
    even = (torch.arange(n) + 0.5) / n
    discrepancy = float((u - even).abs().max())
    chance = torch.rand(200, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).sort().values
    assert discrepancy < float((chance - even).abs().amax(1).min())
    assert discrepancy < 6 / n


def test_options_are_partial_friendly() -> None:
    assert float(min_snr(CIRCLE(t64[:1]), gamma=2.0)) == 2.0
