"""The judge of clips that bounce: exact on what the law draws, and what spoils them is told."""

from itertools import pairwise

import pytest
import torch

from mmdiff.data import bounce
from mmdiff.metrics.trajectory import Fit, fit, lawful, track
from tests.clipdamage import FPS, blurred, bouncing, dropped, noisy, shuffled


@pytest.fixture(scope="module")
def drawn():
    return bouncing(24)


@pytest.fixture(scope="module")
def under_way():
    return bouncing(24, under_way=1)


@pytest.fixture(scope="module")
def tracks(drawn):
    return [track(clip) for clip in drawn[0]]


def fits(clips, rows):
    return [fit(track(clip), row, FPS) for clip, row in zip(clips, rows, strict=True)]


def standing(clips):
    return clips[:, :1].expand_as(clips)


def mean(found, name):
    return sum(float(getattr(one, name)) for one in found) / len(found)


def test_what_the_law_draws_keeps_to_it(drawn, under_way):
    for found in fits(*drawn) + fits(*under_way):
        assert found.error < 0.3
        assert found.free_error < 0.3
        assert found.speed_error < 0.05
        assert found.heading
        assert found.identity == 1
        assert not found.frozen


def test_the_words_are_those_that_are_drawn():
    rows = [bounce.truth("red", "ring", way) for way in bounce.DIRECTIONS]
    assert all(map(lawful, [*rows, bounce.truth("red", "ring")]))
    for key in ("direction", "colour", "shape"):
        assert not lawful(rows[0] | {key: "purplish"})
        assert not lawful({name: value for name, value in rows[0].items() if name != key})


def test_a_shape_that_stands_still_is_frozen_and_heads_nowhere(drawn, under_way):
    for found in [each for clips, rows in (drawn, under_way) for each in fits(standing(clips[:8]), rows[:8])]:
        assert found.frozen
        assert not found.heading
        assert found.error > 1
        assert found.speed_error > 0.9


def test_time_reversed_and_in_another_direction_it_heads_wrong(drawn):
    for clip, row in zip(*drawn, strict=True):
        seen = track(clip[:8])  # later on it turns back, and is as lawful the other way round
        back = seen._replace(places=seen.places.flip(0))
        assert not fit(back, row, FPS).heading
        assert fit(back, row, FPS).error > 1
        aside = {"right": "down", "left": "up", "down": "right", "up": "left"}.get(row["direction"], "up")
        assert not fit(seen, row | {"direction": aside}, FPS).heading


@pytest.mark.parametrize("factor", [0.5, 1.6])
def test_the_wrong_speed_is_told(drawn, tracks, factor):
    for seen, row in zip(tracks, drawn[1], strict=True):
        found = fit(seen, row, FPS * factor)
        assert found.speed_error == pytest.approx(abs(factor - 1), abs=0.1)
        assert found.error > 0.5


def test_the_wrong_colour_and_shape_are_told(drawn, tracks):
    for seen, row in zip(tracks, drawn[1], strict=True):
        assert fit(seen, row | {"colour": "other"}, FPS).identity == 0
        assert fit(seen, row | {"shape": "other"}, FPS).identity == 0


WORSE = [
    (noisy, "error", (0.0, 0.25, 0.5, 0.75, 1.0)),
    (shuffled, "error", (0.0, 0.25, 0.5, 0.75, 1.0)),
    (dropped, "error", (0.0, 0.4, 0.6, 0.8, 1.0)),
    (noisy, "identity", (0.0, 0.4, 0.5, 0.6, 0.8)),
    (blurred, "identity", (0.0, 0.7, 0.8, 0.9, 1.0)),
]


@pytest.mark.parametrize(("damage", "name", "strengths"), WORSE)
def test_more_damage_is_told(drawn, damage, name, strengths):
    clips, rows = (part[:12] for part in drawn)
    found = [mean(fits(damage(clips, strength), rows), name) for strength in strengths]
    signed = [-one for one in found] if name == "identity" else found
    assert all(a < b for a, b in pairwise(signed)), found


def test_shapes_are_missed_where_there_are_none(drawn):
    row, rest = drawn[1][0], (1.0, False, 0.0, True)
    noise = torch.rand(4, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    for clip in (torch.zeros(4, 32, 32, 3), torch.full((4, 32, 32, 3), 0.7), noise):
        seen = track(clip)
        assert seen.places.isnan().all()
        assert fit(seen, row, FPS) == Fit(32, 32, *rest)
    half = drawn[0][0].clone()
    half[::2] = 255
    found = fit(track(half), row, FPS)
    assert found.identity == 0.5
    assert 0.3 < found.error <= 32
    assert torch.isfinite(torch.tensor(found)).all()
