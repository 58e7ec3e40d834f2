"""The convolution equals the library's, values and gradients, on small and on large maps."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmdiff.nets.axes import raised
from mmdiff.nets.conv import SMALL, Conv

LIBRARY = {1: nn.Conv1d, 2: nn.Conv2d}


@pytest.mark.parametrize("shape", [(7,), (SMALL + 1,), (4, 4), (3, 5), (9, 8)])
@pytest.mark.parametrize("size", [1, 3])
def test_values_and_gradients_equal_the_library(shape: tuple[int, ...], size: int) -> None:
    torch.manual_seed(0)
    rank = len(shape)
    ours = Conv(rank, 6, 5, size).double()
    theirs = LIBRARY[rank](6, 5, size, padding=size // 2, bias=False).double()
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


def test_gradient_check_on_a_small_map() -> None:
    conv = Conv(2, 2, 3).double()
    assert torch.autograd.gradcheck(conv, (torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True),))
