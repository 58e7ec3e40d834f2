"""Networks that see which places are given."""

import pytest
import torch
from torch.testing import assert_close

from mmdiff.diffusion.denoiser import Denoiser
from mmdiff.diffusion.schedules import RectifiedFlow
from mmdiff.diffusion.weights import WEIGHTS
from mmdiff.nets import Condition, Given, Shape, UNet

SHAPE = Shape(patch=2, width=32, mults=(1, 2), blocks=1, attention=(1,))


def condition(rows: int, given: Given | None = None) -> Condition:
    nothing = torch.zeros(rows, 0, 4)
    beside = None if given is None else given.mask.float()
    return Condition(nothing.sum(1), nothing, nothing[..., 0].bool(), given, beside)


def born(channels: int, axes: tuple[int, ...]) -> UNet:
    torch.manual_seed(0)
    net = UNet(channels, axes, SHAPE, beside=1)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return net.requires_grad_(False)


@pytest.mark.parametrize("size", [(14,), (6, 10)])
def test_what_stands_in_a_known_place_changes_nothing(size):
    net = born(3, tuple(range(2, 2 + len(size))))
    x, values, angle = torch.randn(2, 3, *size), torch.randn(2, 3, *size), torch.rand(2)
    mask = torch.rand(2, 1, *size) < 0.5
    out = net(x, angle, condition(2, Given(mask, values)))
    other = torch.where(mask, 1e3 * torch.randn_like(x), x)
    garbage = torch.where(mask, values, torch.nan)
    assert torch.equal(net(other, angle, condition(2, Given(mask, garbage))), out)
    assert not torch.allclose(net(x, angle, condition(2)), out, atol=1e-3)


def test_nothing_given_is_the_same_as_no_place_given():
    net = born(3, (2,))
    x, angle = torch.randn(2, 3, 12), torch.rand(2)
    nothing = Given(torch.zeros(2, 1, 12, dtype=torch.bool), torch.randn(2, 3, 12))
    assert torch.equal(net(x, angle, condition(2, nothing)), net(x, angle, condition(2)))


def test_a_net_learns_to_go_on_from_what_is_given():
    """Constant series of either sign: noise says nothing of it, the first half all."""
    torch.manual_seed(0)
    net = UNet(4, (2,), SHAPE, beside=1)
    denoiser, schedule = Denoiser(net, "edm", 1.0), RectifiedFlow()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    mask = (torch.arange(16) < 8).expand(32, 1, 16)

    def drawn() -> tuple[torch.Tensor, torch.Tensor]:
        sign = torch.randint(0, 2, (32, 1, 1)).mul(2).sub(1).float()
        return sign.expand(32, 4, 16), torch.randn(32, 4, 16)

    for _ in range(120):
        (x0, eps), level = drawn(), schedule(torch.rand(32, dtype=torch.float64))
        counts = (~mask).float()
        each = denoiser.loss(x0, eps, level, condition(32, Given(mask, x0)), WEIGHTS["edm"], None, counts)
        optimizer.zero_grad()
        each.mean().backward()
        optimizer.step()
    (x0, eps), level = drawn(), schedule(torch.full((32,), 0.97, dtype=torch.float64))
    with torch.no_grad():
        told = denoiser(level.mix(x0, eps), level, condition(32, Given(mask, x0)))
        lied = denoiser(level.mix(x0, eps), level, condition(32, Given(mask, -x0)))
    assert_close(told[..., 8:].mean((1, 2)), x0[:, 0, 0], atol=0.3, rtol=0)
    assert_close(lied[..., 8:].mean((1, 2)), -x0[:, 0, 0], atol=0.3, rtol=0)
