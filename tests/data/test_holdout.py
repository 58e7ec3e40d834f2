"""Samples that training never sees."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data.holdout import HoldOut, Trained
from mmdiff.data.tones import Tones
from mmdiff.errors import UserError


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80), st.integers(2, 6))
def test_every_nth_value_is_held_out_whatever_the_order(pitches, every):
    rows, distinct = [{"midi": pitch} for pitch in pitches], sorted(set(pitches))
    if len(distinct) < every:
        with pytest.raises(UserError, match=f"has {len(distinct)} values, expected {every} or more"):
            HoldOut(("midi",), every).held(rows)
        return
    chosen = [value for number, value in enumerate(distinct, 1) if number % every == 0]
    assert HoldOut(("midi",), every).held(rows) == [pitch in chosen for pitch in pitches]
    assert HoldOut(("midi",), every).held(rows[::-1]) == [pitch in chosen for pitch in pitches[::-1]]


def test_pairs_leave_each_value_to_others():
    rows = [{"who": who, "midi": midi} for who in "abc" for midi in (40, 42, 44, 46)]
    held = HoldOut.parse("who+midi/5").held(rows)
    assert [(row["who"], row["midi"]) for row, out in zip(rows, held, strict=True) if out] == [
        ("b", 40),
        ("c", 42),
    ]


def test_lists_count_by_their_text():
    rows = [{"tags": tags} for tags in (["a"], ["b"], ["a"], ["c"])]
    assert HoldOut(("tags",), 2).held(rows) == [False, True, False, False]


def test_words_come_after_numbers_and_missing_values_are_trained():
    rows = [{"k": value} for value in ("b", 3, None, "", "a", 1.5)] + [{}]
    assert HoldOut(("k",), 2).held(rows) == [True, True, False, False, False, False, False]


def test_numbers_that_csv_gives_as_words_are_numbers():
    values = [9, 60, 100, 21, 36]
    rows = [[{"midi": kind(value)} for value in values] for kind in (int, str)]
    numbers, words = (HoldOut.parse("midi/2").held(each) for each in rows)
    assert numbers == words
    assert [value for value, out in zip(values, words, strict=True) if out] == [60, 21]


def test_a_source_without_its_held_out_samples():
    source = Tones(0, 200)
    trained = Trained(source, HoldOut.parse("pitch/5"))
    pitches = [
        {source.columns(i)["pitch"] for i in range(200)},
        {trained.columns(i)["pitch"] for i in range(len(trained))},
    ]
    assert len(pitches[0] - pitches[1]) == len(pitches[0]) // 5
    assert {c["pitch"] for c in map(source.columns, range(200)) if c["pitch"] in pitches[1]} == pitches[1]
    place = trained.places[7]
    assert torch.equal(trained[7][0], source[place][0])
    assert trained[7][1] == trained.columns(7) == source.columns(place)
    assert trained.name(7) == source.name(place)


@pytest.mark.parametrize("spec", ["midi", "midi/1", "midi/x", "/5", "", "a+/5"])
def test_what_is_no_hold_out_is_said(spec):
    with pytest.raises(UserError, match=r"data.hold_out: got .*, expected COLUMN/N"):
        HoldOut.parse(spec)
