"""Laws of every measure of clips: more damage is worse, and the floor is below the ceilings."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from mmdiff import counter
from mmdiff.evaluation.clips import Clips, ceilings, measures
from mmdiff.evaluation.measure import compare
from mmdiff.evaluation.report import Report
from tests.clipdamage import FPS, blurred, bouncing, dropped, noisy, shuffled

FACTS = dict.fromkeys(
    ("run", "n", "noun", "size", "data", "step", "weights", "sampler", "grid", "steps"), "x"
)
FACTS |= {"guidance": 1.0, "seed": 0}
STRENGTHS = (0.0, 0.1, 0.25, 0.5, 1.0)
MEASURES = {measure.name: measure for measure in measures(lawful=True)}
SPOILED = {
    noisy: ("flicker", "motion and flicker", "warp error", "temporal spectrum"),
    shuffled: ("motion", "flicker", "motion and flicker", "temporal spectrum"),
    dropped: ("motion and flicker", "temporal spectrum"),
    blurred: ("motion and flicker", "temporal spectrum"),
}


def seen(seed=0, count=12):
    values, rows = bouncing(count, seed=seed)
    return Clips(values, FPS, rows)


@pytest.fixture(scope="module")
def real():
    return seen()


def value(name, judged, twins):
    return MEASURES[name].figure(judged, twins, counter.generator(0, "law")).value


@pytest.mark.parametrize("damage", SPOILED)
def test_more_damage_is_worse(damage):
    many = seen(count=32)  # the mildest damage leaves a third of the clips as they are
    sets = [Clips(damage(many.values, strength), FPS) for strength in STRENGTHS]
    for name in SPOILED[damage]:
        found = [value(name, judged, many) for judged in sets]
        assert all(a < b for a, b in pairwise(found)), (name, found)


def test_the_floor_is_below_the_ceilings(real):
    rows = {
        row.name: row.figures
        for row in compare(list(MEASURES.values()), real, real, seen(2), ceilings(real, 0), seed=0)
    }
    assert set(rows["position error"]) == {"generated", "floor", "frozen", "jumbled", "noise", "shuffled"}
    for ceiling in ("frozen", "jumbled", "noise"):
        for name in ("position error", "speed error", "temporal spectrum", "motion and flicker"):
            assert rows[name]["floor"].high < rows[name][ceiling].low, (name, ceiling)
        for name in ("right direction", "motion of the usual size"):
            assert rows[name]["floor"].low > rows[name][ceiling].high, (name, ceiling)
    assert rows["position error"]["generated"].high < 0.3
    assert rows["right direction"]["generated"].low > rows["right direction"]["shuffled"].high
    assert rows["right shape and colour"]["generated"].value == 100
    assert rows["right shape and colour"]["noise"].value == 0
    assert rows["shapes that stand still"]["frozen"].value == 100
    # Alone they praise what stands still: why motion stands above them.
    for name in ("flicker", "warp error", "motion"):
        assert rows[name]["frozen"].value == pytest.approx(0, abs=1e-3)


def test_the_order_of_the_clips_is_no_matter(real):
    order, other = counter.permutation(0, "order", size=12), seen(5)
    moved = [
        replace(clips, values=clips.values[order], known=[clips.known[place] for place in order])
        for clips in (other, real)
    ]
    for name in MEASURES:
        assert value(name, *moved) == pytest.approx(value(name, other, real), rel=1e-3, abs=1e-3), name


def test_what_follows_no_known_law_is_measured_too_and_strange_clips_are_finite(real):
    assert {measure.name for measure in measures(lawful=False)} < set(MEASURES)
    black, white = (Clips(torch.full_like(real.values, fill), FPS, real.known) for fill in (0, 255))
    for judged, twins in ((black, real), (real, white), (white, black)):
        for measure in MEASURES.values():
            figure = measure.figure(judged, twins, counter.generator(0, "extreme"))
            assert torch.tensor([figure.value, figure.low, figure.high]).isfinite().all(), measure.name


def test_the_table_names_the_ceilings(real):
    few = replace(real, values=real.values[:4], known=real.known[:4])
    rows = compare(measures(lawful=True), few, few, few, ceilings(few, 0), seed=0)
    table = Report(FACTS, rows, []).table()
    assert "frozen, jumbled and noise in their place" in table
    assert max(map(len, table.splitlines())) <= 127
