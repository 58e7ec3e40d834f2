import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from mmdiff.data.shapes import shape
from mmdiff.metrics.shapes import Reading, agreement, judge


def read(picture: np.ndarray) -> Reading:
    return judge(torch.from_numpy(picture))


@pytest.mark.parametrize(("size", "count"), [(32, 400), (16, 150), (64, 60), ((48, 32), 60)])
def test_the_truth_is_read(size, count):
    drawn = [shape(1, index, size) for index in range(count)]
    found = agreement([read(picture) for picture, _ in drawn], [known for _, known in drawn])
    assert found["all"].share >= 0.99


@pytest.mark.parametrize("spoil", ["noise", "blur", "pale", "dark background"])
def test_what_a_network_gets_slightly_wrong_is_still_read(spoil):
    rng, drawn = np.random.default_rng(0), [shape(2, index, 32) for index in range(150)]

    def spoiled(picture: np.ndarray) -> np.ndarray:
        if spoil == "noise":
            return np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
        if spoil == "blur":
            return np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(0.6)))
        if spoil == "pale":
            return (255 - 0.9 * (255.0 - picture)).astype(np.uint8)
        return np.clip(picture.astype(int) - 12, 0, 255).astype(np.uint8)

    found = agreement([read(spoiled(picture)) for picture, _ in drawn], [known for _, known in drawn])
    assert found["all"].share >= 0.95


def test_other_pictures_agree_by_chance_only():
    """The floor: of 8 colours, 6 shapes and 9 places, one in 432 is right by chance."""
    readings = [read(shape(3, index, 32)[0]) for index in range(300)]
    found = agreement(readings, [shape(4, index, 32)[1] for index in range(300)])
    for name, chance in (("colour", 1 / 8), ("shape", 1 / 6), ("position", 1 / 9), ("all", 1 / 432)):
        assert found[name].share < chance + 5 * math.sqrt(chance / 300)


@pytest.mark.parametrize("spread", [20, 60, None])
def test_in_noise_there_is_no_shape(spread):
    rng = np.random.default_rng(0)
    for _ in range(50):
        picture = (
            rng.uniform(0, 255, (32, 32, 3)) if spread is None else 128 + rng.normal(0, spread, (32, 32, 3))
        )
        assert read(np.clip(picture, 0, 255).astype(np.uint8)).shape is None


@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_on_a_blank_picture_there_is_nothing(colour, width, height, noise):
    picture = np.full((height, width, 3), colour, np.uint8)
    picture = np.clip(picture + np.random.default_rng(0).integers(-noise, noise + 1, picture.shape), 0, 255)
    assert read(picture.astype(np.uint8)) == Reading(None, None, None)


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_no_picture_crashes(width, height, random):
    picture = np.array([random.randrange(256) for _ in range(width * height * 3)], np.uint8)
    reading = read(picture.reshape(height, width, 3))
    assert 0 <= reading.confidence <= 1


def test_agreement_counts_none_as_wrong():
    truth = {"colour": "red", "shape": "ring", "position": "top"}
    readings = [Reading("red", "ring", "top", 1.0), Reading("red", None, "left"), Reading(None, None, None)]
    found = agreement(readings, [truth] * 3)
    assert {name: rate.share for name, rate in found.items()} == pytest.approx(
        {"colour": 2 / 3, "shape": 1 / 3, "position": 1 / 3, "all": 1 / 3}
    )
    for wrong in ([], [truth]):
        with pytest.raises(ValueError, match="expected"):
            agreement(readings, wrong)
