import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data.shapes import COLOURS, POSITIONS, SHAPES, Shapes, columns, shape, truths

SEEDS, INDICES = st.integers(0, 2**31), st.integers(0, 2**31)


@given(SEEDS, INDICES, st.integers(1, 40), st.integers(1, 40))
def test_a_picture_is_a_function_of_seed_and_index_at_any_size(seed, index, width, height):
    picture, known = shape(seed, index, (width, height))
    again, _ = shape(seed, index, (width, height))
    assert picture.dtype == np.uint8
    assert picture.shape == (height, width, 3)
    np.testing.assert_array_equal(picture, again)
    assert known == columns(seed, index)


@given(SEEDS, INDICES, st.integers(12, 64), st.integers(12, 64))
def test_the_shape_lies_on_white_in_its_place_and_colour(seed, index, width, height):
    picture, known = shape(seed, index, (width, height))
    ink = 255 - picture.astype(float).min(2)
    assert ink[[0, -1]].sum() + ink[:, [0, -1]].sum() < 0.15 * ink.sum()
    across = (ink.sum(0) * (np.arange(width) + 0.5)).sum() / ink.sum() / width
    down = (ink.sum(1) * (np.arange(height) + 0.5)).sum() / ink.sum() / height
    column, row, _ = POSITIONS[known["position"]]
    assert abs(across - (column + 0.5) / 3) < 1 / 6
    assert abs(down - (row + 0.5) / 3) < 1 / 6
    darkest = picture.reshape(-1, 3)[ink.argmax()]
    assert np.abs(darkest - np.array(COLOURS[known["colour"]])).max() <= 60


def test_a_picture_at_twice_the_size_is_the_same_picture():
    for index in range(50):
        small, large = shape(0, index, 24)[0], shape(0, index, 48)[0].astype(float)
        halved = large.reshape(24, 2, 24, 2, 3).mean((1, 3))
        assert np.abs(small - halved).mean() < 1


def test_captions_tell_the_truth_in_english():
    seen = {row["text"]: row for row in truths()}
    assert len(seen) == len(COLOURS) * len(SHAPES) * len(POSITIONS) == 432
    assert seen["a red circle in the top left"]["position"] == "top left"
    assert seen["an orange star at the bottom"]["shape"] == "star"
    for text, row in seen.items():
        assert row["colour"] in text
        assert row["shape"] in text
        assert all(word in text for word in row["position"].split())


def test_every_property_is_about_as_frequent():
    rows = [columns(0, index) for index in range(5000)]
    for name, values in (("colour", COLOURS), ("shape", SHAPES), ("position", POSITIONS)):
        counts = Counter(row[name] for row in rows)
        expected = 5000 / len(values)
        assert set(counts) == set(values)
        # Five standard deviations of a binomial count
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_the_set_of_shapes():
    drawn = Shapes(3, 10, (20, 16))
    assert len(drawn) == 10
    value, known = drawn[7]
    np.testing.assert_array_equal(value.permute(1, 2, 0), shape(3, 7, (20, 16))[0])
    assert known == drawn.columns(7) == columns(3, 7)
    assert drawn.name(7) == "shape 7 of seed 3"
    torch.testing.assert_close(drawn.x0(7), value.float() / 127.5 - 1)
    assert torch.equal(pickle.loads(pickle.dumps(drawn))[7][0], value)
    with pytest.raises(IndexError):
        drawn[10]
