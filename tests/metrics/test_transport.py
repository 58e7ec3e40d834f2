from itertools import pairwise

import pytest
import torch

from mmdiff import counter
from mmdiff.metrics.transport import directions, wasserstein


def values(count, width=3, *, seed):
    return counter.normal(seed, "values", shape=(count, width))


def test_a_shift_is_its_own_distance():
    x = values(50, seed=0)
    assert wasserstein(x, x) == 0
    assert wasserstein(x + 2, x) == pytest.approx(2)
    assert wasserstein(x[:, 0] - 1, x[:, 0]) == pytest.approx(1)


def test_it_is_a_distance_whatever_the_order():
    x, y, z = (values(40, seed=seed) * (seed + 1) for seed in range(3))
    assert wasserstein(x, y) == pytest.approx(wasserstein(y.flip(0), x))
    assert wasserstein(x, z) <= wasserstein(x, y) + wasserstein(y, z) + 1e-6


def test_two_samples_of_one_distribution_come_nearer_with_their_size():
    found = [wasserstein(values(n, 50, seed=1), values(n, 50, seed=2)) for n in (10, 100, 1000)]
    assert all(a > b for a, b in pairwise(found))


def test_projections_have_the_spread_of_what_is_projected():
    ways = directions(20, 400, counter.generator(0, "ways"))
    torch.testing.assert_close(ways.norm(dim=0), torch.ones(400))
    x = values(2000, 20, seed=0)
    assert float((x @ ways).std()) == pytest.approx(1, abs=0.02)


def test_other_sizes_are_refused():
    for x, y in ((torch.ones(3, 2), torch.ones(4, 2)), (torch.ones(0, 2), torch.ones(0, 2))):
        with pytest.raises(ValueError, match="expected the same"):
            wasserstein(x, y)
