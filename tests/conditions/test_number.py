"""Laws of the number conditioner."""

import pytest
import torch
from torch.testing import assert_close

from mmdiff.conditions import Number
from mmdiff.errors import UserError


def encoded(number: Number, *values: str | None) -> torch.Tensor:
    ids = torch.stack([number.ids(value) for value in values])
    return number(ids, torch.tensor([value is not None for value in values])).vector


def test_the_range_is_the_unit_interval() -> None:
    number = Number("pitch", 21, 108, width=8)
    assert [float(number.ids(value)) for value in ("21", "108", "64.5", "129/2")] == [0.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("value", ["20.9", "109", "nan", "inf", "loud", "", "1e999", "30/0"])
def test_what_is_no_number_of_the_range_is_named(value: str) -> None:
    with pytest.raises(
        UserError, match=rf"condition 'pitch': got '{value}', expected a number from 21 to 108"
    ):
        Number("pitch", 21, 108, width=8).ids(value)


def test_whole_numbers_look_unrelated_and_fractions_lie_between() -> None:
    number = Number("pitch", 21, 108, width=8)

    def waves(*values: float) -> torch.Tensor:
        phase = torch.stack([number.ids(str(value)) for value in values])[:, None] * number.frequencies
        return torch.nn.functional.normalize(phase.cos())

    every = waves(*range(22, 108))
    likeness = every @ every.T
    assert likeness[~torch.eye(len(every), dtype=torch.bool)].abs().max() < 0.1
    half = waves(60.5) @ waves(60, 61, 70).T
    assert half[0, :2].min() > 0.5
    assert half[0, 2].abs() < 0.1


def test_wide_ranges_are_bounded() -> None:
    assert len(Number("length", 0, 1e6).frequencies) < 128
    assert len(Number("share", 0, 1).frequencies) >= 7


def test_a_missing_number_is_the_null_whatever_its_id() -> None:
    torch.manual_seed(0)
    number = Number("pitch", 0, 1, width=8)
    out = encoded(number, "0.2", None, "0.8")
    assert_close(out[1], number.null)
    assert not torch.allclose(out[0], out[2])
