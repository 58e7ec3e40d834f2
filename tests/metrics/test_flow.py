"""The optical flow on pictures that move by a known way."""

import math
from fractions import Fraction

import pytest
import torch

from mmdiff import counter
from mmdiff.data import bounce
from mmdiff.metrics.flow import flow, warped
from mmdiff.metrics.motion import flows
from tests.clipdamage import SIDE


def waves(right=0.0, down=0.0, size=(SIDE, SIDE), count=2):
    """Sums of waves of 8 to 32 pixels, moved exactly."""
    y, x = torch.meshgrid(*(torch.arange(float(side)) for side in size[::-1]), indexing="ij")
    pictures = torch.full((count, 3, *size[::-1]), 0.5)
    for number in range(8):
        phase, length, angle = (
            counter.normal(0, "wave", number, i, shape=(count, 3, 1, 1)) for i in range(3)
        )
        rate = 2 * math.pi / (20 + 6 * length).clamp(8, 32)
        along = (x - right) * (9 * angle).cos() + (y - down) * (9 * angle).sin()
        pictures += 0.08 * torch.sin(rate * along + 9 * phase)
    return pictures


@pytest.mark.parametrize("way", [(0.25, 0.5), (-1.0, 0.5), (2.0, 1.0), (-3.0, -2.0), (4.0, 0.0)])
@pytest.mark.parametrize("size", [(SIDE, SIDE), (41, 27)])
def test_the_way_of_a_texture_is_found_up_to_the_edges(way, size):
    found = flow(waves(size=size), waves(*way, size=size))
    errors = (found - torch.tensor(way)[:, None, None]).norm(dim=1)
    assert errors.mean() < 0.2
    assert errors.median() < 0.1


def test_the_way_of_a_plain_shape_is_found_inside_it():
    ways = {"right": (0.8, 0), "left": (-0.8, 0), "down": (0, 0.8), "up": (0, -0.8)}
    for index in range(6):
        frames, row = bounce.clip(0, index, (32, 32), 2, Fraction(20))
        clip, asked = torch.from_numpy(frames), ways.get(row["direction"])
        inside = (clip[0].float() - 255).norm(dim=-1) > 60
        length = flows(clip)[0].norm(dim=0)[inside]
        assert float(length.median()) == pytest.approx(0.8, abs=0.2)
        if asked:
            assert (flows(clip)[0] - torch.tensor(asked)[:, None, None]).norm(dim=0)[inside].median() < 0.2


def test_what_is_moved_back_is_the_same():
    first, second = waves(), waves(1.5, -1.0)
    assert (warped(second, flow(first, second)) - first).abs().mean() < 0.01
    torch.testing.assert_close(warped(first, torch.zeros(2, 2, SIDE, SIDE)), first)


def test_what_does_not_change_does_not_move():
    for pictures in (waves(), torch.zeros(1, 3, SIDE, SIDE), torch.ones(1, 3, 5, 1)):
        assert flow(pictures, pictures).abs().max() < 1e-3


def test_every_pair_is_by_itself_and_noise_is_finite():
    first, second = (torch.rand(3, 3, 20, 24, generator=counter.generator(0, name)) for name in "ab")
    found = flow(first, second)
    assert found.isfinite().all()
    order = [2, 0, 1]
    torch.testing.assert_close(flow(first[order], second[order]), found[order], atol=1e-4, rtol=1e-4)
