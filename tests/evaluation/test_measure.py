"""What is compared with what, on numbers in place of samples."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mmdiff import counter
from mmdiff.evaluation.measure import Kind, Measure, apart, averaged, compare, percent
from mmdiff.metrics.transport import wasserstein


@dataclass(frozen=True, eq=False)
class Numbers:
    values: Tensor

    def rolled(self):
        return Numbers(self.values.roll(1))


def away(x, y):
    return (x.values - y.values).abs()


TWINS, OTHERS = Numbers(torch.arange(8.0)), Numbers(torch.arange(8.0) + 0.5)
DRAWN, ZEROS = Numbers(torch.arange(8.0) + 0.1), Numbers(torch.zeros(8))


def row(kind, figure=None):
    measure = Measure("m", "u", kind, figure or averaged(away))
    (found,) = compare([measure], DRAWN, TWINS, OTHERS, {"zeros": ZEROS}, seed=0)
    return {column: figure.value for column, figure in found.figures.items()}


def test_twins_are_compared_in_pairs_with_others_as_their_floor():
    shuffled = (
        0.1 + 7 - 0.2 + 7 * 1.1
    ) / 8  # the first beside the last, each other one beside the one before
    found = row(Kind.TWIN)
    assert found == pytest.approx(
        {"generated": 0.1, "floor": 0.5, "zeros": 3.5, "shuffled": shuffled}, abs=0.06
    )
    assert list(found) == ["generated", "floor", "zeros", "shuffled"]


def test_what_was_asked_and_what_stands_for_itself_have_the_twins_as_their_floor():
    assert row(Kind.ASKED)["floor"] == row(Kind.ITSELF)["floor"] == 0
    assert "shuffled" in row(Kind.ASKED)
    assert "shuffled" not in row(Kind.ITSELF)


def test_sets_are_compared_whole():
    figure = apart(lambda x, y: (x.values, y.values), wasserstein, unit=0.5)
    assert row(Kind.SET, figure) == pytest.approx({"generated": 0.2, "floor": 1.0, "zeros": 7.0})


def test_a_share_is_in_percent_by_wilson():
    figure = percent(lambda x, y: away(x, y) < 0.3)
    assert row(Kind.TWIN, figure) == {"generated": 100.0, "floor": 0.0, "zeros": 12.5, "shuffled": 0.0}
    found = figure(ZEROS, TWINS, counter.generator(0, "x"))
    assert (found.low, found.high, found.n) == pytest.approx((2.24, 47.09, 8), abs=0.01)


def test_another_statistic_and_another_seed():
    values = averaged(lambda x, y: x.values**3, torch.median)
    one, two = (values(DRAWN, TWINS, counter.generator(seed, "x")) for seed in (0, 1))
    assert one.value == two.value == pytest.approx(3.1**3)
    assert math.isfinite(one.low)
    assert one.low <= one.value <= one.high
