"""Laws of nets of clips."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mmdiff.nets import Condition, Shape, UNet
from mmdiff.nets.blocks import Clips, Context
from mmdiff.nets.temporal import Moment, Temporal

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


@pytest.mark.parametrize("size", [(2, 2), (5, 7), (12, 4)])
def test_any_size(size):
    _, angle, condition = drawn()
    x = torch.randn(2, 3, FRAMES, *size).double()
    out = clip_net()(x, angle, condition)
    assert out.shape == x.shape
    assert out.isfinite().all()


def test_frames_know_how_far_they_are_from_both_ends_unless_they_are_pictures():
    clock, held = torch.arange(4) / 8, torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    moment, clips = Moment(6), Clips(4, clock, held, torch.tensor([True, True, False]))
    said = torch.randn(3, 6).repeat_interleave(4, 0)
    assert torch.equal(moment(said, clips), said)
    torch.nn.init.normal_(moment.shares.weight)
    long, short, still = moment(said, clips).unflatten(0, (3, 4))
    assert torch.pdist(long).min() > 0.1
    assert torch.equal(still, said[8:])
    assert_close(short[:2], moment(said[4:6], Clips(2, clock[:2], None, None)))
    assert_close(long, moment(said[:4], Clips(4, clock, None, None)))


def test_what_is_said_and_when_are_multiplied():
    """Sums alone would move two captions by the same in every frame."""
    moment, clips = Moment(6), Clips(4, torch.arange(4) / 8, None, None)
    torch.nn.init.normal_(moment.shares.weight)
    one, other = torch.randn(2, 1, 6).expand(-1, 4, -1)
    apart = moment(one, clips) - moment(other, clips)
    assert torch.pdist(apart).min() > 0.1


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


@pytest.mark.parametrize("silent", ["attention", "moment"])
def test_positions_are_seconds(silent):
    """Both the attention along time and the moments know how far frames are apart."""
    x, angle, condition = drawn()
    outs = []
    for seconds in (0.25, 0.125):
        net = clip_net(seconds)
        for name, parameter in net.named_parameters():
            if ".attention.out" in name and ("time_" in name) if silent == "attention" else "moment" in name:
                parameter.zero_()
        outs.append(net(x, angle, condition))
    assert not torch.allclose(*outs, atol=1e-4)


@pytest.mark.parametrize("cut", [False, True])
def test_rates_mix_in_a_batch(cut):
    x, angle, condition = drawn()
    valid = torch.ones(2, 1, *x.shape[2:]).double()
    valid[1, :, FRAMES - 1 :] = 0
    valid = valid if cut else None
    mixed = clip_net()(x, angle, condition._replace(apart=torch.tensor([0.125, 0.04])), valid)
    for row, seconds in enumerate((0.125, 0.04)):
        alone = clip_net(seconds)(x, angle, condition, valid)
        assert_close(mixed[row], alone[row], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(mixed[1], clip_net()(x, angle, condition, valid)[1], atol=1e-4)


def context(clips: Clips, valid: Tensor | None = None) -> Context:
    return Context(torch.zeros(2 * clips.frames, 4).double(), None, None, valid, torch.zeros(()), None, clips)


def temporal() -> Temporal:
    torch.manual_seed(3)
    layer = Temporal(6, 4).double().requires_grad_(False)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def test_attention_along_time_is_that_of_the_means_of_two_by_two_places():
    layer, clock = temporal(), torch.arange(FRAMES) / 8
    x = torch.randn(2, FRAMES, 3, 4, 6).double()
    out = layer.attend(x, Clips(FRAMES, clock, None, None))
    for clip in range(2):
        for row in (0, 2):
            for column in (0, 2):
                block = slice(row, row + 2), slice(column, column + 2)
                mean = x[clip][:, *block].sum((1, 2)) / 4  # what is beyond the border counts as zero
                alone = layer.attention(mean.T[None], times=clock)[0].T
                assert_close(out[clip][:, *block], alone[:, None, None].expand_as(out[clip][:, *block]))


def test_the_convolution_along_time_sees_the_frames_beside_and_no_other_place():
    layer, clock = temporal(), torch.arange(FRAMES) / 8
    layer.attention.out.weight.zero_()
    x, seen = torch.randn(2 * FRAMES, 6, 4, 2).double(), context(Clips(FRAMES, clock, None, None))
    x = x - x.mean((1, 2, 3), keepdim=True)
    other = x.clone()
    other[2, [0, 1], 3, 1] += torch.tensor([1e-6, -1e-6])  # so little that the norm stays what it is
    moved = (layer(other, seen) - layer(x, seen)).abs().amax(1).unflatten(0, (2, FRAMES)) > 1e-7
    assert moved[0, 1:4, 3, 1].all()
    assert moved.sum() == 3


def test_places_beyond_the_size_change_nothing_along_time():
    layer, clock = temporal(), torch.arange(FRAMES) / 8
    x, clips = torch.randn(2 * FRAMES, 6, 4, 6).double(), Clips(FRAMES, clock, None, None)
    valid = torch.zeros(1, 1, 4, 6).double()
    valid[..., :2, :4] = 1
    out = layer(x, context(clips, valid))[..., :2, :4]
    assert_close(out, layer(x[..., :2, :4], context(clips)), rtol=1e-5, atol=1e-5)
