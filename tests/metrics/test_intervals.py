import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff import counter
from mmdiff.metrics.intervals import Figure, bootstrap, halves, wilson
from mmdiff.metrics.kernel import mmd


def test_the_interval_is_wilsons():
    """Newcombe (1998, Statistics in Medicine 17:857, table I, method 3): 81 of 263 and 0 of 20."""
    assert wilson(81, 263)[:3] == pytest.approx((81 / 263, 0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20)[:3] == pytest.approx((0, 0, 0.1611), abs=5e-5)


@given(n=st.integers(1, 300), data=st.data())
def test_wilson_interval_holds_the_share_and_shrinks(n, data):
    successes = data.draw(st.integers(0, n))
    small, large = wilson(successes, n), wilson(4 * successes, 4 * n)
    assert 0 <= small.low <= small.share + 1e-12
    assert small.share - 1e-12 <= small.high <= 1
    assert large.high - large.low < small.high - small.low


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_shares_are_refused(successes, trials):
    with pytest.raises(ValueError, match="expected 0 to as many"):
        wilson(successes, trials)


def test_the_bootstrap_of_a_mean_is_the_normal_interval():
    """For the mean of many values, the ends are 1.96 standard errors away."""
    values = counter.normal(0, "test", shape=(400,)) + 3
    found = bootstrap(values, counter.generator(0, "bootstrap"), resamples=4000)
    half = 1.96 * float(values.std()) / math.sqrt(400)
    mean = float(values.mean())
    assert found.value == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)
    assert found.n == 400


def test_the_bootstrap_covers_the_truth():
    """Of 200 intervals of the mean of 30 values about 95 % hold the true mean, 90 % at the very least."""
    held = 0
    for trial in range(200):
        values = counter.normal(1, "test", trial, shape=(30,))
        found = bootstrap(values, counter.generator(1, "bootstrap", trial), resamples=300)
        held += found.low <= 0 <= found.high
    assert 180 <= held <= 199


def test_the_bootstrap_keeps_rows_together_and_repeats():
    rows = torch.arange(40.0).reshape(20, 2)

    def difference(rows):
        return (rows[:, 1] - rows[:, 0]).mean()

    assert bootstrap(rows, counter.generator(0, "x"), difference) == Figure(1.0, 1.0, 1.0, 20)
    assert bootstrap(rows[:, 0], counter.generator(0, "x")) == bootstrap(
        rows[:, 0], counter.generator(0, "x")
    )
    with pytest.raises(ValueError, match="no values"):
        bootstrap(rows[:0], counter.generator(0, "x"))


def test_a_figure_reads_well():
    assert str(Figure(0.5, 0.25, 0.75, 12)) == "0.500  [0.250, 0.750]  of 12"


def difference_of_means(x, y):
    return float(x.mean() - y.mean())


def test_halves_of_a_difference_of_means_are_its_normal_interval():
    x, y = counter.normal(0, "x", shape=(400,)) + 1, counter.normal(0, "y", shape=(400,))
    found = halves(x, y, counter.generator(0, "halves"), difference_of_means, draws=2000)
    reach = 1.96 * math.sqrt(float(x.var() + y.var()) / 400)
    assert found.value == pytest.approx(difference_of_means(x, y))
    assert found.high - found.value == pytest.approx(reach, rel=0.06)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_halves_cover_the_truth_where_a_bootstrap_would_not():
    """The unbiased distance of two samples of one distribution is 0 on average."""
    held = 0
    for trial in range(100):
        x, y = (counter.normal(trial, name, shape=(40, 3)) for name in "xy")
        found = halves(x, y, counter.generator(trial, "halves"), mmd)
        held += found.low <= 0 <= found.high
    assert held >= 90
    x, y = (counter.normal(0, name, shape=(40, 3)) for name in "xy")
    dice = counter.generator(0, "bootstrap")
    drawn = torch.tensor(
        [mmd(*(rows[torch.randint(40, (40,), generator=dice)] for rows in (x, y))) for _ in range(200)]
    )
    assert drawn.mean() - mmd(x, y) > drawn.std()  # rows drawn twice look alike


def test_halves_repeat_and_need_four_rows():
    x, y = counter.normal(0, "x", shape=(9,)), counter.normal(0, "y", shape=(8,))
    one, two = (halves(x, y, counter.generator(0, "halves"), difference_of_means) for _ in range(2))
    assert one == two
    assert one.n == 9
    with pytest.raises(ValueError, match="3 and 8 rows"):
        halves(x[:3], y, counter.generator(0, "halves"), difference_of_means)
