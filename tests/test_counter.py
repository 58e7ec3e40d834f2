"""Random numbers are functions of their address, and noise has the covariance that is asked for."""

import pytest
import torch

from mmdiff import counter

SHAPE = (3, 6, 40, 40)  # channels, frames, pixels


def test_what_is_drawn_depends_on_every_part_of_the_address():
    drawn = [
        counter.normal(*address, shape=(4,))
        for address in ((0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2))
    ]
    assert len({tuple(each.tolist()) for each in drawn}) == 4
    assert torch.equal(drawn[0], counter.normal(0, "a", 1, shape=(4,)))


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0])
def test_frames_share_as_much_of_the_variance_as_is_asked_for(shared):
    noise = counter.normal(0, "start", 7, shape=SHAPE, shared=shared)
    assert noise.shape == SHAPE
    frames = noise.movedim(1, 0).flatten(1).double()
    found = frames @ frames.T / frames.shape[1]
    wanted = torch.full((6, 6), shared).double().fill_diagonal_(1.0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=5 * frames.shape[1] ** -0.5)  # five deviations
    channels = noise.flatten(1).double()
    across = channels @ channels.T / channels.shape[1]
    assert across.fill_diagonal_(0).abs().max() < 5 * (40 * 40) ** -0.5


def test_without_a_share_the_numbers_are_the_plain_ones():
    plain = counter.normal(0, "start", 7, shape=SHAPE)
    assert torch.equal(plain, counter.normal(0, "start", 7, shape=SHAPE, shared=0.0))
