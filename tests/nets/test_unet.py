"""Laws of the rank-generic U-Net."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from mmdiff.nets import Condition, Shape, UNet
from mmdiff.nets.attention import attend
from mmdiff.nets.axes import patchify, unpatchify

SMALL = Shape(patch=2, width=32, mults=(1, 2), blocks=2, attention=(1,))
IMAGE, SERIES, CLIPS = (2, 3), (2,), (3, 4)


def born(channels: int, axes: tuple[int, ...], shape: Shape = SMALL) -> UNet:
    """A net in float64 whose zeros at birth are replaced by small numbers, so that every layer acts."""
    torch.manual_seed(0)
    net = UNet(channels, axes, shape, vector=8, tokens=8).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return net


def condition(rows: int) -> Condition:
    mask = torch.arange(4) <= torch.arange(rows)[:, None] % 4
    return Condition(torch.randn(rows, 8).double(), torch.randn(rows, 4, 8).double(), mask)


@dataclass(frozen=True)
class Padded(Shape):
    """Asks for twice the padding that is needed."""

    @property
    def multiple(self) -> int:
        return 2 * super().multiple


@given(height=st.integers(1, 19), width=st.integers(1, 19))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_any_image_size_comes_back_and_more_padding_changes_nothing(height: int, width: int) -> None:
    net = born(3, IMAGE)
    x, angle, given_ = torch.randn(2, 3, height, width).double(), torch.rand(2).double(), condition(2)
    out = net(x, angle, given_)
    assert out.shape == x.shape
    net.shape = Padded(**vars(SMALL))
    assert_close(net(x, angle, given_), out, rtol=1e-9, atol=1e-12)


@given(length=st.integers(1, 70))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_any_series_length_comes_back_and_more_padding_changes_nothing(length: int) -> None:
    net = born(5, SERIES)
    x, angle, given_ = torch.randn(2, 5, length).double(), torch.rand(2).double(), condition(2)
    out = net(x, angle, given_)
    assert out.shape == x.shape
    net.shape = Padded(**vars(SMALL))
    assert_close(net(x, angle, given_), out, rtol=1e-9, atol=1e-12)


def test_a_nan_neighbour_changes_nothing() -> None:
    net, x, angle, given_ = (
        born(3, IMAGE),
        torch.randn(3, 3, 8, 8).double(),
        torch.rand(3).double(),
        condition(3),
    )
    out = net(x, angle, given_)
    x[1] = torch.nan
    poisoned = net(x, angle, given_)
    assert torch.equal(poisoned[[0, 2]], out[[0, 2]])
    assert poisoned[1].isnan().all()


def test_permuting_the_batch_permutes_the_result() -> None:
    net, x, angle, given_ = (
        born(3, IMAGE),
        torch.randn(4, 3, 8, 8).double(),
        torch.rand(4).double(),
        condition(4),
    )
    order = torch.tensor([2, 0, 3, 1])
    assert_close(net(x[order], angle[order], given_.rows(order)), net(x, angle, given_)[order])


def test_masked_tokens_are_not_seen_and_others_are() -> None:
    net, x, angle, given_ = (
        born(3, IMAGE),
        torch.randn(2, 3, 8, 8).double(),
        torch.rand(2).double(),
        condition(2),
    )
    out = net(x, angle, given_)
    hidden = torch.where(given_.mask[..., None], given_.tokens, 1e3)
    assert_close(net(x, angle, given_._replace(tokens=hidden)), out)
    shown = torch.where(given_.mask[..., None], given_.tokens + 1, given_.tokens)
    assert (net(x, angle, given_._replace(tokens=shown)) - out).abs().max() > 1e-6


def test_noise_and_vector_change_the_result() -> None:
    net, x, angle, given_ = (
        born(3, IMAGE),
        torch.randn(2, 3, 8, 8).double(),
        torch.rand(2).double(),
        condition(2),
    )
    out = net(x, angle, given_)
    assert (net(x, angle + 0.1, given_) - out).abs().max() > 1e-6
    assert (net(x, angle, given_._replace(vector=given_.vector + 1)) - out).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("sizes", "axes", "seconds"),
    [((3, 8, 8), IMAGE, None), ((80, 8), SERIES, None), ((80, 8), SERIES, 0.1), ((3, 5, 8, 8), CLIPS, 0.1)],
)
def test_a_new_net_gives_zero_and_every_parameter_learns(
    sizes: tuple[int, ...], axes: tuple[int, ...], seconds: float | None
) -> None:
    torch.manual_seed(0)
    net = UNet(sizes[0], axes, SMALL, vector=8, tokens=8, seconds=seconds).double()
    x, angle, given_ = torch.randn(2, *sizes).double(), torch.rand(2).double(), condition(2)
    assert net(x, angle, given_).abs().max() == 0
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(4):  # zeros at birth open one after the other, from the output inwards
        optimiser.zero_grad()
        (net(x, angle, given_) - x).square().mean().backward()
        optimiser.step()
    still = [
        name
        for name, parameter in net.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


@pytest.mark.parametrize(
    ("shape", "axes"), [((2, 3, 8, 4), (2, 3)), ((2, 3, 8), (2,)), ((2, 3, 5, 8, 4), (3, 4))]
)
def test_patches_come_back(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    patches = patchify(x, 2, axes)
    assert patches.shape[1] == 3 * 2 ** len(axes)
    assert torch.equal(unpatchify(patches, 2, axes), x)


@pytest.mark.parametrize("seen", [None, torch.tensor([True, False, True, True, False])])
def test_attention_equals_the_fused_kernel(seen: Tensor | None) -> None:
    q, k, v = (
        torch.randn(2, 3, 7, 8).double(),
        torch.randn(2, 3, 5, 8).double(),
        torch.randn(2, 3, 5, 8).double(),
    )
    mask = None if seen is None else seen.expand(2, 1, 1, 5)
    assert_close(
        attend(q, k, v, mask), torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    )


@torch.no_grad()
def test_a_net_of_fewer_features_than_channels_has_a_say_in_each() -> None:
    shape = Shape(patch=1, width=8, mults=(1, 1), blocks=1, attention=())
    net, x = born(64, SERIES, shape), torch.randn(200, 64, 1).double()
    assert torch.linalg.matrix_rank(net(x, torch.rand(200).double())[..., 0], rtol=1e-9) == 64


@torch.no_grad()
@pytest.mark.parametrize("patch", [1, 2])
def test_shares_of_the_input_go_through_channel_by_channel(patch: int) -> None:
    shape = Shape(patch=patch, width=8, mults=(1, 1), blocks=1, attention=())
    net = UNet(32, SERIES, shape, beside=3).double()
    x, own, share = torch.randn(3, 2, 32, 4).double()
    said = [patchify(part, patch, SERIES).unsqueeze(2) for part in (own, share)]
    net.last.register_forward_hook(lambda module, inputs, output: torch.cat(said, 1))
    assert_close(net(x, torch.rand(2).double()), own + share * x)


@pytest.mark.parametrize(("axes", "size"), [(SERIES, (12,)), (IMAGE, (8, 12)), (IMAGE, (20, 24))])
def test_half_the_bits_are_cut_off_before_the_net_or_in_its_layers_alike(axes, size) -> None:
    net, x = born(3, axes).float(), torch.randn(2, 3, *size)
    angle, told = torch.rand(2), condition(2)
    told = told._replace(vector=told.vector.float(), tokens=told.tokens.float())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert torch.equal(net(x, angle, told), net(x.bfloat16(), angle, told))
