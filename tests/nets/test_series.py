"""Laws of timed series: positions in seconds, and batches of series of different lengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from mmdiff.nets import Condition, Shape, UNet
from mmdiff.nets.attention import Attention
from mmdiff.nets.embed import echoes

SHAPES = {
    "plain": Shape(patch=1, width=32, mults=(1, 2), blocks=1, attention=(0, 1)),
    "patches": Shape(patch=2, width=32, mults=(1, 1, 2), blocks=1, attention=(2,)),
}


def born(shape: Shape, seconds: float | None = 0.016, channels: int = 5, beside: int = 0) -> UNet:
    """A net in which every layer acts."""
    torch.manual_seed(0)
    net = UNet(channels, (2,), shape, vector=8, tokens=8, seconds=seconds, beside=beside)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return net.eval().requires_grad_(False)


def drawn(lengths: list[int], channels: int = 5, beside: int = 0) -> tuple[Tensor, Tensor, Condition, Tensor]:
    torch.manual_seed(1)
    b, longest = len(lengths), max(lengths)
    valid = (torch.arange(longest) < torch.tensor(lengths)[:, None]).float()[:, None]
    mask = torch.arange(4) <= torch.arange(b)[:, None] % 4
    along = valid * torch.randn(b, beside, longest) if beside else None
    condition = Condition(torch.randn(b, 8), torch.randn(b, 4, 8), mask, beside=along)
    return torch.randn(b, channels, longest), torch.rand(b), condition, valid


def check(shape: Shape, lengths: list[int], channels: int = 5, beside: int = 0) -> None:
    """Each sample of a padded batch comes out as it does alone, whatever stands in the padding."""
    net = born(shape, channels=channels, beside=beside)
    x, angle, condition, valid = drawn(lengths, channels, beside)
    out = net(x, angle, condition, valid)
    for i, length in enumerate(lengths):
        row = slice(i, i + 1)
        own = condition.rows(row)
        if own.beside is not None:
            own = own._replace(beside=own.beside[..., :length])
        alone = net(x[row, :, :length], angle[row], own)
        assert_close(out[row, :, :length], alone, rtol=0, atol=1e-5)
    other = torch.where(valid > 0, x, 1e3 * torch.randn_like(x))
    assert torch.equal(net(other, angle, condition, valid), out)
    assert not out[(valid == 0).expand_as(out)].any()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(lengths=st.lists(st.integers(1, 40), min_size=2, max_size=4))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_a_padded_series_comes_out_as_it_does_alone(shape: Shape, lengths: list[int]) -> None:
    check(shape, lengths)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@given(lengths=st.lists(st.integers(1, 40), min_size=2, max_size=4))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_so_do_series_of_more_channels_than_the_net_is_wide_and_with_something_beside_them(
    shape: Shape, lengths: list[int]
) -> None:
    check(shape, lengths, channels=80, beside=3)


@pytest.mark.parametrize("length", [997, 5000])
def test_long_series(length: int) -> None:
    check(SHAPES["patches"], [length, 3, length // 2])


@given(lengths=st.lists(st.integers(1, 5000), min_size=2, max_size=3))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_series_of_any_length(lengths: list[int]) -> None:
    check(SHAPES["patches"], lengths)


def test_attention_sees_how_far_apart_positions_are_and_not_when() -> None:
    torch.manual_seed(0)
    layer = Attention(64).requires_grad_(False)
    torch.nn.init.normal_(layer.out.weight)
    x, times = torch.randn(2, 64, 12), 0.05 * torch.arange(12)
    out = layer(x, times=times)
    assert_close(layer(x, times=times + 7.0), out, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(layer(x, times=2 * times), out, atol=1e-2)
    assert not torch.allclose(layer(x), out, atol=1e-2)


def test_what_positions_see_of_tokens_depends_on_no_time() -> None:
    torch.manual_seed(0)
    layer = Attention(64, 16).requires_grad_(False)
    torch.nn.init.normal_(layer.out.weight)
    x, tokens, times = torch.randn(2, 64, 12), torch.randn(2, 3, 16), 0.05 * torch.arange(12)
    out = layer(x, tokens, times=times)
    assert_close(layer(x, tokens, times=times + 7.0), out, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(layer(x, 2 * tokens.flip(1), times=times), out, atol=1e-2)


def test_no_gradient_reaches_the_padding() -> None:
    net = born(SHAPES["patches"])
    x, angle, condition, valid = drawn([13, 40])
    x.requires_grad_()
    net(x, angle, condition, valid).square().sum().backward()
    assert not x.grad[(valid == 0).expand_as(x)].any()
    assert x.grad[(valid > 0).expand_as(x)].abs().min() > 0


def test_a_net_of_seconds_hears_the_tempo() -> None:
    x, angle, condition, _ = drawn([32, 32])
    slow, fast = (born(SHAPES["plain"], seconds)(x, angle, condition) for seconds in (0.016, 0.004))
    assert not torch.allclose(slow, fast, atol=1e-3)


def test_echoes_know_the_start_and_the_end_of_each() -> None:
    times = 0.1 * torch.arange(10) + 0.05
    patterns = echoes(times, torch.tensor([1.0, 0.5]))
    assert patterns.shape == (2, 15, 10)
    assert_close(patterns[:, 1:8], patterns[:1, 1:8].expand(2, -1, -1))
    assert_close(patterns[0, 8:], patterns[0, 1:8].flip(1))
    assert_close(patterns[1, 8:, :5], patterns[1, 1:8, :5].flip(1))


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_are_positive(seconds: float) -> None:
    with pytest.raises(ValueError, match="expected a positive number"):
        UNet(3, (2,), SHAPES["plain"], seconds=seconds)


@pytest.mark.parametrize("axes", [(), (3,), (2, 3, 4)])
def test_axes_are_those_of_series_pictures_or_clips(axes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="axes are"):
        UNet(3, axes, SHAPES["plain"])


def test_seconds_are_not_for_pictures() -> None:
    with pytest.raises(ValueError, match=r"seconds is 0\.1 of pictures"):
        UNet(3, (2, 3), SHAPES["plain"], seconds=0.1)
