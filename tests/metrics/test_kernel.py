import pytest
import torch

from mmdiff import counter
from mmdiff.metrics.kernel import energy, mmd, standardised


def features(count, width=6, *, seed, shift=0.0):
    return counter.normal(seed, "features", shape=(count, width)) + shift


def test_it_is_the_definition():
    """Bińkowski et al. (2018), eq. 4, pair by pair."""
    x, y = features(5, seed=0), features(4, seed=1)

    def k(a, b):
        return (float(a @ b) / 6 + 1) ** 3

    within_x = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 20
    within_y = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 12
    between = sum(k(a, b) for a in x for b in y) / 20
    assert mmd(x, y) == pytest.approx(within_x + within_y - 2 * between, rel=1e-5)


def test_without_a_difference_it_is_zero_on_average():
    found = torch.tensor([mmd(features(20, seed=2 * i), features(20, seed=2 * i + 1)) for i in range(400)])
    assert abs(float(found.mean())) < 4 * float(found.std()) / 20
    assert (found < 0).any()


def test_it_grows_with_the_difference_and_ignores_the_order():
    x = features(200, seed=0)
    found = [mmd(x, features(200, seed=1, shift=shift)) for shift in (0, 0.2, 0.5, 1, 2)]
    assert found == sorted(found)
    y = features(200, seed=1, shift=1)
    assert mmd(x, y) == pytest.approx(mmd(y.flip(0), x.flip(0)))


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match="1 and 3 rows"):
        mmd(torch.ones(1, 2), torch.ones(3, 2))


def test_standardised_features_have_the_scale_of_the_reference():
    real = 5 * features(300, seed=0) + 2
    same = standardised(real, real, 1e-3)
    torch.testing.assert_close(same.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(same.std(0), torch.ones(6))
    torch.testing.assert_close(
        standardised(real + 5 * torch.ones(6), real, 1e-3) - same, 5 / real.std(0).expand(300, -1)
    )
    constant = torch.ones(4, 6)
    torch.testing.assert_close(standardised(constant + 1, constant, 0.5), torch.full((4, 6), 2.0))


def test_the_energy_distance_is_its_definition():
    """Székely and Rizzo (2013), in one dimension, pair by pair."""
    x, y = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([2.0, 5.0])
    between = sum(abs(float(a - b)) for a in x for b in y) / 6
    assert energy(x[:, None], y[:, None]) == pytest.approx(2 * between - 2 * (1 + 3 + 2) / 6 - 3)


def test_the_energy_distance_is_zero_on_average_and_grows_with_a_shift_as_the_shift():
    found = torch.tensor([energy(features(20, seed=2 * i), features(20, seed=2 * i + 1)) for i in range(400)])
    assert abs(float(found.mean())) < 4 * float(found.std()) / 20
    x = features(200, seed=0)
    far = [energy(x, features(200, seed=1, shift=shift)) for shift in (0, 0.2, 0.5, 1, 2, 100, 200)]
    assert far == sorted(far)
    assert far[-1] / far[-2] == pytest.approx(2, abs=0.05)
    with pytest.raises(ValueError, match="1 and 3 rows"):
        energy(torch.ones(1, 2), torch.ones(3, 2))
