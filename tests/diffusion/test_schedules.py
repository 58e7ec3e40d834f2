import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.diffusion.schedules import (
    SCHEDULES,
    Cosine,
    Edm,
    Linear,
    RectifiedFlow,
    Schedule,
    Shifted,
    Sigmoid,
    Table,
)

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
DDPM = Table(tuple((1 - BETAS).cumprod(0).tolist()))
ALL = {name: schedule() for name, schedule in SCHEDULES.items()}
ALL |= {
    "table": DDPM,
    "table to zero": Table((0.9, 0.5, 0.1, 0.0)),
    "cosine without offset": Cosine(offset=0.0),
    "shifted flow": Shifted(RectifiedFlow(), 3.0),
    "shifted cosine": Shifted(Cosine(), 0.3),
    "shifted table": Shifted(DDPM, 2.0),
}
every = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL.keys())
t64 = torch.linspace(0, 1, 501, dtype=torch.float64)


def one(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@every
def test_noise_grows_from_exactly_none(schedule: Schedule) -> None:
    level = schedule(t64)
    assert level.sigma[0] == 0
    assert level.alpha[0] == 1
    assert (level.rho.diff() > 0).all()
    assert level.alpha.dtype == torch.float64
    assert all(torch.isfinite(part).all() for part in level)


@pytest.mark.parametrize("name", ["cosine", "sigmoid", "rectified_flow", "table to zero", "shifted flow"])
def test_pure_noise_is_exact(name: str) -> None:
    assert [float(part) for part in ALL[name](one(1.0))] == [0.0, 1.0]


@every
def test_t_of_rho_is_the_inverse(schedule: Schedule) -> None:
    torch.testing.assert_close(schedule.t_of_rho(schedule(t64).rho), t64, rtol=1e-9, atol=1e-9)
    assert schedule.t_of_rho(one(0.0)) == 0
    assert schedule.t_of_rho(one(math.inf)) == pytest.approx(1.0, abs=1e-12)
    rho = torch.logspace(-3, 1, 50, dtype=torch.float64).clamp(max=float(schedule(one(1.0)).rho))
    torch.testing.assert_close(schedule(schedule.t_of_rho(rho)).rho, rho, rtol=1e-8, atol=0.0)


@every
@given(rho=st.floats(0.0, 1e6))
def test_of_rho_keeps_rho_and_the_frame(schedule: Schedule, rho: float) -> None:
    level = schedule.of_rho(one(rho))
    assert float(level.rho) == pytest.approx(rho, rel=1e-12)
    middle = schedule(one(0.4))
    for part, known in zip(schedule.of_rho(middle.rho), middle, strict=True):
        assert float(part) == pytest.approx(float(known), rel=1e-9)


def test_frames() -> None:
    for schedule in (Linear(), Cosine(), Sigmoid(), DDPM):
        level = schedule(t64)
        torch.testing.assert_close(level.alpha**2 + level.sigma**2, torch.ones_like(t64))
    assert (Edm()(t64).alpha == 1).all()
    torch.testing.assert_close(RectifiedFlow()(t64).alpha + RectifiedFlow()(t64).sigma, torch.ones_like(t64))


@every
@given(shift=st.floats(0.1, 10.0), t=st.floats(0.001, 0.999))
def test_a_shift_multiplies_rho(schedule: Schedule, shift: float, t: float) -> None:
    assert float(Shifted(schedule, shift)(one(t)).rho) == pytest.approx(shift * float(schedule(one(t)).rho))


def test_published_formulas() -> None:
    shifted = Shifted(RectifiedFlow(), 3.0)(t64).sigma
    torch.testing.assert_close(shifted, 3 * t64 / (1 + 2 * t64))  # SD3
    offset = torch.cos((t64 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)
    torch.testing.assert_close(Cosine()(t64).alpha, offset, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(Edm()(one(1.0)).sigma, one(80.0))
    gamma = (torch.sigmoid(one(3.0)) - torch.sigmoid(t64 * 6 - 3)) / (torch.sigmoid(one(3.0)) * 2 - 1)
    torch.testing.assert_close(Sigmoid()(t64).alpha ** 2, gamma, rtol=1e-9, atol=1e-12)


def test_linear_is_the_limit_of_ddpm() -> None:
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(Linear()(t).logsnr, DDPM(t).logsnr, rtol=0.02, atol=0.02)


def test_a_table_is_exact_at_its_entries() -> None:
    t = torch.arange(1, 1001).double() / 1000
    torch.testing.assert_close(
        DDPM(t).alpha ** 2, torch.tensor(DDPM.alphas_cumprod).double(), rtol=1e-6, atol=0
    )
    assert DDPM.ticks == Shifted(DDPM, 2.0).ticks == 1000
    between = DDPM(torch.tensor([0.5, 0.5005, 0.501]).double()).logsnr
    assert float(between[1]) == pytest.approx(float(between[::2].mean()), abs=1e-5)


@pytest.mark.parametrize("table", [(), (1.0, 0.5), (0.5, 0.5), (0.5, 0.6), (0.5, -0.1), (0.5, math.nan)])
def test_a_table_that_does_not_fall_is_refused(table: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="alphas_cumprod must fall"):
        Table(table)
