"""The convolution equals the library's, values and gradients, on small and on large maps."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmdiff.nets.axes import raised
from mmdiff.nets.conv import FEW, SMALL, WIDE, Conv, small

LIBRARY = {1: nn.Conv1d, 2: nn.Conv2d}


@pytest.mark.parametrize("shape", [(7,), (SMALL + 1,), (4, 4), (3, 5), (9, 8)])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("outputs", [5, WIDE])
def test_values_and_gradients_equal_the_library(shape: tuple[int, ...], size: int, outputs: int) -> None:
    torch.manual_seed(0)
    rank = len(shape)
    ours = Conv(rank, 6, outputs, size).double()
    theirs = LIBRARY[rank](6, outputs, size, padding=size // 2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, *shape, dtype=torch.float64)
    results = []
    for conv in (ours, theirs):
        leaf = x.clone().requires_grad_()
        out = conv(raised(leaf)).squeeze(2) if conv is ours and rank == 1 else conv(leaf)
        out.square().sum().backward()
        results.append((out, leaf.grad, conv.weight.grad))
    for mine, other in zip(*results, strict=True):
        assert_close(mine, other)


def test_along_the_other_axis_of_a_map_it_is_the_librarys_with_a_tall_kernel() -> None:
    ours, x = Conv(1, 4, 6, axis=2), torch.randn(2, 4, 5, 7)
    theirs = nn.Conv2d(4, 6, (3, 1), padding=(1, 0), bias=False)
    theirs.weight = nn.Parameter(ours.weight.detach().unsqueeze(3))
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("rank", [1, 2])
def test_weights_lie_channels_last_loaded_ones_too(rank: int) -> None:
    conv = Conv(rank, 4, 6)
    conv.load_state_dict({"weight": torch.randn(6, 4, *(3,) * rank)})
    for each in (conv, Conv(rank, 4, 6), conv.to(torch.bfloat16)):
        assert each.weight.movedim(1, -1).is_contiguous()
        assert not each.weight.is_contiguous()


def test_products_are_of_small_wide_maps_whose_neighbourhoods_are_few() -> None:
    x, weight = torch.empty(2, 6, 8, 8, device="meta"), torch.empty(WIDE, 6, 3, 3, device="meta")
    assert small(x, weight)
    assert not small(torch.empty(2, 6, 8, SMALL // 8 + 1, device="meta"), weight)
    assert not small(x, weight[:-1])
    most = FEW // (6 * SMALL * 9)
    assert small(torch.empty(most, 6, 8, SMALL // 8, device="meta"), weight)
    assert not small(torch.empty(most + 1, 6, 8, SMALL // 8, device="meta"), weight)


def test_gradient_check_on_a_small_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmdiff.nets.conv.WIDE", 3)
    conv = Conv(2, 2, 3).double()
    assert torch.autograd.gradcheck(conv, (torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True),))
