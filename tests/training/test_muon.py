"""Muon: against torch's own for matrices, against AdamW for the rest, and the law of levelled steps."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmdiff.nets.conv import Conv
from mmdiff.training.muon import MOMENTUM, TIMES, Muon, orthogonal

STEPS = 4


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def train(net, *optimizers, steps=range(STEPS)):
    for step in steps:
        net.zero_grad()
        x = torch.randn(5, 12, generator=torch.Generator().manual_seed(step))
        net(x).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()


def split(net):
    """Matrices and others."""
    return [p for p in net.parameters() if p.ndim == 2], [p for p in net.parameters() if p.ndim != 2]


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_steps_keep_their_directions_and_lose_their_lengths(shape):
    """Against the exact decomposition: singular vectors stay, values come near to 1."""
    u, _, v = torch.linalg.svd(torch.randn(*shape, dtype=torch.float64), full_matrices=False)
    lengths = torch.logspace(0, -1, min(shape), dtype=torch.float64)
    found = u.mT @ orthogonal(u * (7 * lengths) @ v) @ v.mT
    assert_close(found, torch.diag(found.diagonal()), atol=1e-9, rtol=0)
    assert found.diagonal().min() > 0.6
    assert found.diagonal().max() < 1.3


def test_small_directions_grow_most():
    """A kernel's step as it is in training: two decades of singular values become one."""
    u, _, v = torch.linalg.svd(torch.randn(64, 576, dtype=torch.float64), full_matrices=False)
    lengths = torch.logspace(0, -2, 64, dtype=torch.float64)
    found = (u.mT @ orthogonal(u * lengths @ v) @ v.mT).diagonal()
    assert found[-1] / found[0] > 10 * lengths[-1] / lengths[0]
    assert found.min() > 0.1
    assert found.max() < 1.3


def test_what_is_zero_does_not_move():
    assert not orthogonal(torch.zeros(3, 4)).any()


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_matrices_move_as_with_the_optimiser_of_torch(decay):
    ours = nn.Sequential(nn.Linear(12, 32), nn.SiLU(), nn.Linear(32, 6))
    theirs = copy.deepcopy(ours)
    train(ours, Muon(*split(ours), lr=0.01, weight_decay=decay))
    peer = partial(torch.optim.Muon, momentum=MOMENTUM, ns_steps=TIMES, adjust_lr_fn="match_rms_adamw")
    makers = (peer, torch.optim.AdamW)
    train(
        theirs, *(make(p, lr=0.01, weight_decay=decay) for make, p in zip(makers, split(theirs), strict=True))
    )
    # bfloat16 rounds to 1/256, and the two round in other places; they move by 0.02 in all
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_close(one, other, atol=5e-4, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_what_is_no_matrix_moves_as_with_adamw():
    ours = nn.Sequential(nn.Linear(12, 6))
    theirs = copy.deepcopy(ours)
    train(ours, Muon([], ours.parameters(), lr=0.01, fused=True))
    train(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.01, fused=True))
    assert torch.equal(ours[0].weight, theirs[0].weight)
    assert torch.equal(ours[0].bias, theirs[0].bias)


def test_a_kernel_is_a_matrix_of_all_its_taps():
    conv = Conv(2, 3, 5)
    linear = nn.Linear(27, 5, bias=False)
    with torch.no_grad():
        linear.weight.copy_(conv.weight.flatten(1))
    for layer, shape in ((conv, (5, 3, 3, 3)), (linear, (5, 27))):
        optimizer = Muon([layer.weight], [], torch.float32, lr=0.1)
        for step in range(STEPS):
            layer.weight.grad = torch.randn(5, 27, generator=torch.Generator().manual_seed(step)).view(shape)
            optimizer.step()
    assert_close(conv.weight.flatten(1), linear.weight)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_its_state_goes_on_bit_for_bit():
    whole = nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 3))
    part = copy.deepcopy(whole)
    make = partial(Muon, lr=0.01, fused=True)
    train(whole, make(*split(whole)))
    first = make(*split(part))
    train(part, first, steps=range(2))
    again = make(*split(part))
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    train(part, again, steps=range(2, STEPS))
    for one, other in zip(whole.parameters(), part.parameters(), strict=True):
        assert torch.equal(one, other)
