"""Laws of nets of clips."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mmdiff.nets import Condition, Shape, UNet

SHAPE = Shape(patch=2, width=32, mults=(1, 2), blocks=1, attention=(1,))
FRAMES = 5


def picture_net() -> UNet:
    torch.manual_seed(0)
    net = UNet(3, (2, 3), SHAPE, vector=8, tokens=8)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return net.double().requires_grad_(False)


def clip_net(seconds: float | None = 0.125, lively: bool = True) -> UNet:
    """A net of clips with the weights of the net of pictures; lively: its layers along time act."""
    torch.manual_seed(1)
    net = UNet(3, (3, 4), SHAPE, vector=8, tokens=8, seconds=seconds)
    for parameter in net.parameters():
        if lively:
            torch.nn.init.normal_(parameter, std=0.08)
    net.load_state_dict(picture_net().state_dict(), strict=False)
    return net.double().requires_grad_(False)


def drawn(frames: int = FRAMES) -> tuple[Tensor, Tensor, Condition]:
    torch.manual_seed(2)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    condition = Condition(torch.randn(2, 8).double(), torch.randn(2, 3, 8).double(), mask)
    return torch.randn(2, 3, frames, 8, 6).double(), torch.rand(2).double(), condition


def test_a_net_of_clips_is_born_as_its_net_of_pictures_frame_by_frame():
    x, angle, condition = drawn()
    out, pictures = clip_net(lively=False)(x, angle, condition), picture_net()
    for frame in range(FRAMES):
        assert_close(out[:, :, frame], pictures(x[:, :, frame], angle, condition), rtol=1e-9, atol=1e-9)


def test_pictures_in_the_batch_are_not_moved_by_each_other_and_clips_are():
    x, angle, condition = drawn()
    out = clip_net()(x, angle, condition._replace(moving=torch.tensor([True, False])))
    pictures = picture_net()
    for frame in range(FRAMES):
        alone = pictures(x[:, :, frame], angle, condition)
        assert_close(out[1, :, frame], alone[1], rtol=1e-9, atol=1e-9)
        assert not torch.allclose(out[0, :, frame], alone[0], atol=1e-3)
    assert_close(out[0], clip_net()(x, angle, condition)[0])


def test_every_frame_hears_of_every_other_and_their_order_counts():
    x, angle, condition = drawn()
    net = clip_net()
    out = net(x, angle, condition)
    for frame in range(FRAMES):
        other = x.clone()
        other[:, :, frame] += 1
        moved = (net(other, angle, condition) - out).abs().amax((0, 1, 3, 4))
        assert (moved > 1e-5).all()
    assert not torch.allclose(net(x.flip(2), angle, condition).flip(2), out, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 3, 16])
def test_any_number_of_frames(frames):
    x, angle, condition = drawn(frames)
    assert clip_net()(x, angle, condition).shape == x.shape


def test_a_padded_clip_comes_out_as_it_does_alone():
    x, angle, condition = drawn()
    net, valid = clip_net(), torch.ones(2, 1, FRAMES, 8, 6).double()
    valid[1, :, 3:] = 0
    out = net(x, angle, condition, valid)
    row = slice(1, 2)
    alone = net(x[row, :, :3], angle[row], condition.rows(row))
    assert_close(out[row, :, :3], alone, rtol=1e-9, atol=1e-9)
    assert not out[1, :, 3:].any()
    assert_close(out[:1], net(x[:1], angle[:1], condition.rows(slice(0, 1))), rtol=1e-9, atol=1e-9)
    other = torch.where(valid > 0, x, 1e3 * torch.randn_like(x))
    assert torch.equal(net(other, angle, condition, valid), out)


def test_positions_are_seconds():
    """Half as many frames a second that are twice as far apart: only the convolution sees a difference."""
    x, angle, condition = drawn()
    slow, fast = (clip_net(seconds)(x, angle, condition) for seconds in (0.25, 0.125))
    assert not torch.allclose(slow, fast, atol=1e-4)
