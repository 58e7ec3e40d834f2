"""Clips that move by a known law."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from mmdiff.data import bounce
from mmdiff.data.shapes import COLOURS, SHAPES
from mmdiff.metrics.shapes import judge

SIZE, FPS = (48, 32), Fraction(8)


def simulated(known, size, frames: int, fps: Fraction) -> np.ndarray:
    """The path by a thousand small steps a frame, turned at every wall: nothing of the closed form."""
    margin, side = 1.1 * bounce.RADIUS * min(size), min(size)
    at = [margin + known[axis] * (length - 2 * margin) for axis, length in zip("xy", size, strict=True)]
    speed = [known[way] * bounce.SPEED * side for way in ("right", "down")]
    found, step = [], 1 / float(fps) / 1000
    for _ in range(frames):
        found.append(list(at))
        for _ in range(1000):
            for axis in (0, 1):
                at[axis] += speed[axis] * step
                if not margin <= at[axis] <= size[axis] - margin:
                    speed[axis] *= -1
                    at[axis] += 2 * speed[axis] * step
    return np.array(found)


@pytest.mark.parametrize("under_way", [0, 1])
@pytest.mark.parametrize("index", range(6))
def test_the_law_is_that_of_a_ball_between_walls(index, under_way):
    known = bounce.columns(0, index, under_way)
    path = bounce.path(known, SIZE, np.arange(24) / 8)
    np.testing.assert_allclose(path, simulated(known, SIZE, 24, FPS), atol=0.15)


@pytest.mark.parametrize("index", range(48))
def test_it_starts_in_the_corner_or_at_the_middle_of_the_side_that_it_leaves(index):
    known = bounce.columns(0, index)
    sides = {1: (0, 0.25), -1: (0.75, 1), 0: (0.375, 0.625)}  # by the way along an axis
    for axis, way in zip("xy", np.sign(bounce.DIRECTIONS[known["direction"]]), strict=True):
        low, high = sides[int(way)]
        assert low <= known[axis] <= high


@pytest.mark.parametrize("index", range(24))
def test_it_goes_the_way_that_its_caption_says_through_three_quarters_of_the_room(index):
    known = bounce.columns(0, index)
    seconds = 0.75 * (1 - 2.2 * bounce.RADIUS) / bounce.SPEED
    path = bounce.path(known, (32, 32), np.linspace(0, seconds, 9))
    way = np.sign(bounce.DIRECTIONS[known["direction"]])
    assert (np.sign(np.diff(path, axis=0).round(9)) == way).all()


def test_under_way_it_is_anywhere_on_any_way_and_its_caption_says_neither():
    rows = [bounce.columns(0, index, 1) for index in range(2000)]
    for axis in "xy":
        quarters = np.bincount([int(4 * row[axis]) for row in rows], minlength=4)
        assert len(quarters) == 4
        assert min(quarters) > 0.8 * 2000 / 4
    ways = [(np.sign(row["right"]), np.sign(row["down"])) for row in rows]
    assert len(set(ways)) == 8
    assert min(map(ways.count, set(ways))) > 0.7 * 2000 / 12  # slanting ones; there are as many of each other
    assert all(np.hypot(row["right"], row["down"]) == pytest.approx(1) for row in rows)
    assert all(row["direction"] is None for row in rows)
    assert {row["text"] for row in rows} == {bounce.truth(c, s)["text"] for c in COLOURS for s in SHAPES}
    assert bounce.truth("red", "ring")["text"] == "a red ring"


def test_the_others_are_the_same_beside_those_that_are_under_way():
    source = bounce.Bounce(0, 2000, (16, 16), 4, FPS, under_way=0.3)
    rows = [source.columns(index) for index in range(2000)]
    plain = [index for index, row in enumerate(rows) if row["direction"]]
    assert 0.66 < len(plain) / 2000 < 0.74
    assert all(rows[index] == bounce.columns(0, index) for index in plain)
    for index in (*plain[:2], *sorted({*range(50)} - {*plain})[:2]):
        frames = bounce.clip(0, index, (16, 16), 4, FPS, 0.3)[0]
        assert (source[index][0].permute(1, 2, 3, 0).numpy() == frames).all()


@pytest.mark.parametrize("under_way", [0, 1])
@pytest.mark.parametrize("index", range(8))
def test_every_frame_shows_the_shape_where_the_law_says(index, under_way):
    frames, known = bounce.clip(0, index, (32, 32), 12, FPS, under_way)
    path = bounce.path(known, (32, 32), np.arange(12) / 8)
    for frame, (x, y) in zip(frames, path, strict=True):
        seen = judge(torch.from_numpy(frame))
        assert (seen.colour, seen.shape) == (known["colour"], known["shape"])
        ink = 255 * 3 - frame.astype(float).sum(-1)
        across, down = (np.arange(32) + 0.5, np.arange(32) + 0.5)
        assert abs((ink.sum(0) * across).sum() / ink.sum() - x) < 0.6
        assert abs((ink.sum(1) * down).sum() / ink.sum() - y) < 0.6


def test_a_clip_is_the_same_at_another_rate_and_size():
    slow, known = bounce.clip(3, 5, (32, 32), 8, Fraction(4))
    fast, _ = bounce.clip(3, 5, (32, 32), 16, Fraction(8))
    assert (slow == fast[::2]).all()
    wide = bounce.path(known, (64, 64), np.arange(8) / 4)
    np.testing.assert_allclose(wide, 2 * bounce.path(known, (32, 32), np.arange(8) / 4))


def test_all_words_are_as_frequent_and_the_source_keeps_its_clips():
    source = bounce.Bounce(0, 3000, (16, 16), 4, FPS)
    seen = [source.columns(i) for i in range(3000)]
    for key, names in (("direction", bounce.DIRECTIONS), ("colour", COLOURS), ("shape", SHAPES)):
        counts = [sum(row[key] == name for row in seen) for name in names]
        assert min(counts) > 0.8 * 3000 / len(names)
    packed, row = source[7]
    assert packed.shape == (3, 4, 16, 16)
    assert packed.dtype == torch.uint8
    assert row == seen[7]
    assert source[7][0] is packed
    article = "an" if row["colour"] == "orange" else "a"
    assert row["text"] == f"{article} {row['colour']} {row['shape']} moving {row['direction']}"
    with pytest.raises(IndexError):
        source[3000]
