import math

import pytest
import torch
from torch import Tensor, nn

from mmdiff.diffusion import grids
from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.level import NoiseLevel, spread
from mmdiff.diffusion.schedules import SCHEDULES, RectifiedFlow
from mmdiff.diffusion.targets import TARGETS
from mmdiff.diffusion.weights import WEIGHTS, eps_simple

t64 = torch.tensor([1e-6, 0.1, 0.5, 0.9, 1 - 1e-6], dtype=torch.float64)
every_target = pytest.mark.parametrize("target", TARGETS)


class Told(nn.Module):
    """A network that is told its answer; it remembers what it saw."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, angle: Tensor, condition: object, valid: object = None) -> Tensor:
        self.seen = (x, angle, condition)
        return self.answer


class Local(nn.Module):
    """A small nonlinear network that works on each sample alone."""

    def forward(self, x: Tensor, angle: Tensor, condition: object, valid: object = None) -> Tensor:
        return torch.sin(3 * x) + spread(angle, x)


def draw(b: int, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    x0, eps = torch.randn(2, b, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return spread * x0, eps


@every_target
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_target_gives_x0_back_on_every_schedule(target: str, schedule: str) -> None:
    level = SCHEDULES[schedule]()(t64)
    x0, eps = draw(len(t64))
    p, q = TARGETS[target](level, 0.5)
    denoise = Denoiser(Told(spread(p, x0) * x0 + spread(q, x0) * eps), target)
    torch.testing.assert_close(denoise(level.mix(x0, eps), level), x0, rtol=1e-7, atol=1e-7)


@every_target
def test_the_ends(target: str) -> None:
    x0, eps = draw(2)
    ends = RectifiedFlow()(torch.tensor([0.0, 1.0], dtype=torch.float64))
    denoise = Denoiser(Local(), target)
    out = denoise(ends.mix(x0, eps), ends)
    assert torch.equal(out[0], x0[0])
    if target == "eps":
        with pytest.raises(ValueError, match=r"'eps' cannot give x0 at alpha = 0, sigma = 1"):
            denoise.check(ends)
    else:
        denoise.check(ends)
        assert out.isfinite().all()


def test_what_the_state_cannot_resolve_is_refused() -> None:
    denoise = Denoiser(Local(), "eps")
    denoise.check(grids.karras(RectifiedFlow(), 8))
    almost = NoiseLevel(torch.tensor([2.0**-24]).double(), torch.tensor([1.0]).double())
    with pytest.raises(ValueError, match="use another target, or a grid that starts below pure noise"):
        denoise.check(almost)
    Denoiser(Local(), "x0").check(NoiseLevel(torch.ones(2).double(), torch.tensor([1e-9, 0]).double()))


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_the_network_sees_unit_variance_and_a_bounded_angle(sigma_data: float) -> None:
    x0, eps = (torch.randn(5, 1, 100, 100) for _ in range(2))
    for schedule in SCHEDULES.values():
        level, net = schedule()(t64), Told(torch.zeros(5, 1, 100, 100))
        Denoiser(net, "flow", sigma_data)(level.mix(sigma_data * x0, eps), level, "condition")
        x, angle, condition = net.seen
        torch.testing.assert_close(x.flatten(1).std(1), torch.ones(5), rtol=0.03, atol=0.0)
        assert angle.dtype == torch.float32
        assert ((angle >= 0) & (angle <= math.pi / 2 + 1e-6)).all()
        torch.testing.assert_close(angle, torch.atan2(level.rho, torch.tensor(sigma_data)).float())
        assert condition == "condition"


def test_the_edm_target_has_unit_variance_and_is_minus_v_for_unit_data() -> None:
    level = SCHEDULES["cosine"]()(t64)
    p, q = TARGETS["edm"](level, 0.3)
    torch.testing.assert_close((0.3 * p) ** 2 + q**2, torch.ones(5).double())
    for ours, minus in zip(TARGETS["edm"](level, 1.0), TARGETS["v"](level, 1.0), strict=True):
        torch.testing.assert_close(ours, -minus)


@every_target
def test_only_the_ratio_of_the_level_matters(target: str) -> None:
    level = SCHEDULES["cosine"]()(t64)
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    denoise = Denoiser(Local(), target)
    other = NoiseLevel(7 * level.alpha, 7 * level.sigma)
    torch.testing.assert_close(denoise(7 * x, other), denoise(x, level), rtol=1e-9, atol=1e-9)


@every_target
@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_loss_is_the_weighted_error_of_x0(target: str, weight: str) -> None:
    level = SCHEDULES["rectified_flow"]()(t64[1:4])
    x0, eps = draw(3)
    denoise = Denoiser(Local(), target)
    error = (denoise(level.mix(x0, eps), level) - x0).square().flatten(1).mean(1)
    loss = denoise.loss(x0, eps, level, None, WEIGHTS[weight])
    torch.testing.assert_close(loss, WEIGHTS[weight](level) * error, rtol=1e-9, atol=1e-12)


def test_the_loss_is_finite_at_the_ends_and_zero_for_data() -> None:
    x0, eps = draw(2)
    ends = RectifiedFlow()(torch.tensor([0.0, 1.0], dtype=torch.float64))
    for weight in WEIGHTS.values():
        for target in TARGETS.keys() - {"eps"}:
            loss = Denoiser(Local(), target).loss(x0, eps, ends, None, weight)
            assert loss.isfinite().all()
            assert loss[0] == 0


@every_target
def test_samples_are_independent(target: str) -> None:
    level = SCHEDULES["linear"]()(t64)
    x0, eps = (part.float() for part in draw(5))
    x, order = level.mix(x0, eps), torch.tensor([3, 1, 4, 0, 2])
    denoise = Denoiser(Local(), target)
    shuffled = NoiseLevel(level.alpha[order], level.sigma[order])
    assert torch.equal(denoise(x[order], shuffled), denoise(x, level)[order])
    loss = denoise.loss(x0, eps, level, None, eps_simple)
    assert torch.equal(denoise.loss(x0[order], eps[order], shuffled, None, eps_simple), loss[order])
    poisoned = x.clone()
    poisoned[2] = math.nan
    keep = torch.tensor([0, 1, 3, 4])
    assert torch.equal(denoise(poisoned, level)[keep], denoise(x, level)[keep])


def test_the_state_keeps_its_dtype_under_autocast() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor, angle: Tensor, condition: object, valid: object = None) -> Tensor:
            out = self.layer(x)
            assert out.dtype == torch.bfloat16
            return out

    x, level = torch.randn(5, 3, 4), SCHEDULES["cosine"]()(t64)
    with torch.autocast("cpu", torch.bfloat16):
        assert Denoiser(Layer())(x, level).dtype == torch.float32
        assert Denoiser(Layer()).loss(x, x, level, None, eps_simple).dtype == torch.float32


def test_errors() -> None:
    with pytest.raises(ValueError, match="target is 'noise'; expected one of x0, eps, v, flow, edm"):
        Denoiser(Local(), "noise")
    with pytest.raises(ValueError, match="sigma_data is 0; expected a positive number"):
        Denoiser(Local(), "flow", 0)


@every_target
def test_the_loss_of_a_padded_sample_is_the_mean_over_what_it_holds(target: str) -> None:
    x0, eps = draw(3)
    level = RectifiedFlow()(torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64))
    valid = torch.ones(3, 1, 4, 4, dtype=torch.float64)
    valid[1, ..., 2:] = 0
    denoise = Denoiser(Local(), target)
    whole = denoise.loss(x0, eps, level, None, WEIGHTS["v"])
    masked = denoise.loss(x0, eps, level, None, WEIGHTS["v"], valid, valid)
    part = denoise.loss(x0[..., :2], eps[..., :2], level, None, WEIGHTS["v"])
    torch.testing.assert_close(masked, torch.stack([whole[0], part[1], whole[2]]))
    garbage = torch.where(valid > 0, x0, 1e3)
    torch.testing.assert_close(denoise.loss(garbage, eps, level, None, WEIGHTS["v"], valid, valid), masked)
