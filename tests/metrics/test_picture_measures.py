import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff import counter
from mmdiff.metrics import pictures


def noise(*shape, seed=0):
    return 0.5 + 0.1 * counter.normal(seed, "noise", shape=shape)


def powers(exponent, count=4, side=64):
    """Pictures whose power falls with the frequency by a known exponent."""
    across = torch.fft.fftfreq(side)
    frequency = torch.hypot(across[:, None], across)
    frequency[0, 0] = math.inf
    grey = torch.fft.ifft2(torch.fft.fft2(noise(count, side, side)) * frequency ** (exponent / 2)).real
    return (0.5 + 0.1 * grey / grey.std())[:, None].expand(-1, 3, -1, -1).contiguous()


def test_the_slope_is_that_of_the_spectrum():
    found = [float(pictures.spectral_slope(powers(exponent)).mean()) for exponent in (0, -1, -2, -3)]
    assert found == pytest.approx([0, -1, -2, -3], abs=0.35)
    assert all(a > b for a, b in pairwise(found))


def test_the_slope_ignores_level_and_contrast():
    some = powers(-2)
    torch.testing.assert_close(pictures.spectral_slope(0.5 * some + 0.2), pictures.spectral_slope(some))


def test_moments_are_the_ones_of_the_colours():
    made = torch.zeros(1, 3, 8, 8)
    made[0, 0], made[0, 1, :4], made[0, 2, 0, 0] = 0.25, 1.0, 1.0
    found = pictures.colour_moments(made)[0]
    assert found[:3].tolist() == pytest.approx([0.25, 0.5, 1 / 64])
    assert found[3:6].tolist() == pytest.approx([0, 0.5, math.sqrt(63) / 64])
    assert found[6:8].tolist() == pytest.approx([0, 0], abs=1e-3)
    assert found[8] > 0.2
    torch.testing.assert_close(pictures.colour_moments(made.flip(2, 3))[0], found)


def test_mean_colours_are_apart_by_their_difference():
    one, two = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    two[0, 0], two[1, :] = 0.5, 1.0
    torch.testing.assert_close(pictures.colour_difference(one, two), torch.tensor([0.5, math.sqrt(3)]))


@pytest.mark.parametrize("size", [(64, 64), (65, 47), (32, 32)])
def test_a_pyramid_has_halving_levels_that_add_up(size):
    some = noise(2, 3, *size)
    levels = pictures.pyramid(some)
    assert [min(level.shape[2:]) for level in levels][-1] >= 16
    found = levels[-1]
    for level in reversed(levels[:-1]):
        found = level + pictures._enlarged(found, level)
    torch.testing.assert_close(found, some)
    flat = pictures.pyramid(torch.full((1, 3, *size), 0.3))
    assert all(level.abs().max() < 1e-6 for level in flat[:-1])


def test_patches_are_standardised_by_the_reference():
    real = noise(50, 3, 16, 16)
    found = pictures.patches(real, real)
    assert found.shape == (50, 32, 64)
    assert float(found.std()) == pytest.approx(1, abs=0.05)
    assert float(pictures.patches(0.5 * real + 0.25, real).std()) == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(pictures.patches(real.flip(0), real), found.flip(0))


@given(st.integers(1, 40), st.integers(1, 40))
def test_any_size_and_flat_pictures_are_finite(height, width):
    for some in (
        torch.zeros(2, 3, height, width),
        torch.ones(2, 3, height, width),
        noise(2, 3, height, width),
    ):
        assert pictures.spectral_slope(some).isfinite().all()
        assert pictures.colour_moments(some).isfinite().all()
        for level in pictures.pyramid(some):
            assert pictures.patches(level, level).isfinite().all()
