"""Laws of every measure of a report: more damage is worse, and the order of the samples is no matter."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from mmdiff import counter
from mmdiff.data.shapes import Shapes
from mmdiff.data.tones import TIMBRES, tone
from mmdiff.evaluation import pictures, sounds
from mmdiff.evaluation.measure import Kind, compare
from mmdiff.evaluation.pictures import Pictures
from mmdiff.evaluation.sounds import Sounds

RATE, COUNT = 8000, 24
STRENGTHS = (0.05, 0.15, 0.4, 1.0)
DICE = 0


def heard(seed=0, count=COUNT):
    """Notes whose pitch holds: a bell's upper modes are not in tune."""
    made = [tone(seed, index, RATE) for index in range(3 * count)]
    steady = [(wave, known) for wave, known in made if known["timbre"] in set(TIMBRES) - {"bell"}][:count]
    asked = torch.tensor([float(known["pitch"]) for _, known in steady])
    return Sounds(torch.stack([wave for wave, _ in steady]), RATE, asked)


def seen(seed=0, count=COUNT, side=32):
    return Pictures.of(torch.stack([Shapes(seed, count, (side, side))[i][0] for i in range(count)]))


@pytest.fixture(scope="module")
def notes():
    return heard()


@pytest.fixture(scope="module")
def drawings():
    return seen()


def noisy(waves, strength):
    return waves + 0.2 * strength * counter.normal(0, "damage", shape=waves.shape)


def detuned(waves, strength):
    """Played faster by up to 1.5 semitones; what is missing at the end is silent."""
    at = torch.arange(waves.shape[2]) * 2 ** (strength / 8)
    low = at.long().clamp(max=waves.shape[2] - 2)
    part = (at - low).clamp(0, 1).float()
    return ((1 - part) * waves[..., low] + part * waves[..., low + 1]) * (at < waves.shape[2])


def late(waves, strength):
    """Begins up to 0.4 s later, and ends with the clip."""
    samples = round(0.4 * strength * RATE)
    return torch.nn.functional.pad(waves, (samples, 0))[..., : waves.shape[2]]


def louder(waves, strength):
    return waves * 10 ** (strength * 12 / 20)


def overdriven(waves, strength):
    return (waves * (1 + 10 * strength)).clamp(-1, 1)


def dropped(waves, strength):
    """The first sounds are silent."""
    kept = torch.arange(len(waves)) >= round(strength * len(waves))
    return waves * kept[:, None, None]


DAMAGES = {
    noisy: (
        *("harmonics to noise", "envelope error", "envelope correlation"),
        *("spectral convergence", "log spectral distance", "log-mel statistics"),
    ),
    detuned: ("pitch error", "spectral convergence", "log spectral distance"),
    late: ("onset error", "envelope error", "envelope correlation", "spectral convergence"),
    louder: ("loudness difference", "envelope error", "spectral convergence", "log-mel statistics"),
    overdriven: (
        "sounds that clip",
        "clipped samples",
        "log spectral distance",
        "loudness difference",
        "log-mel statistics",
    ),
    dropped: (
        *(
            "silent sounds",
            "silent parts",
            "within 20 cents",
            "within 50 cents",
            "envelope error",
            "log-mel statistics",
        ),
        *("loudness difference", "spectral convergence", "envelope correlation"),
    ),
}
FALL = {"harmonics to noise", "envelope correlation", "within 20 cents", "within 50 cents"}
SOUND = {measure.name: measure for measure in sounds.measures(pitched=True)}


def value(measure, judged, real):
    return measure.figure(judged, real, counter.generator(DICE, "law")).value


@pytest.mark.parametrize(("damage", "name"), [(d, name) for d, names in DAMAGES.items() for name in names])
def test_more_damage_to_sounds_is_worse(notes, damage, name):
    strengths = (0.0, *STRENGTHS)
    found = [
        value(SOUND[name], dataclasses.replace(notes, waves=damage(notes.waves, strength)), notes)
        for strength in strengths
    ]
    signed = [-one if name in FALL else one for one in found]
    if name in ("sounds that clip", "clipped samples"):  # none at the weakest, or all before the strongest
        assert signed == sorted(signed)
        assert signed[0] < signed[-1]
    else:
        assert all(a < b for a, b in pairwise(signed)), found


def test_every_measure_of_sounds_is_covered_by_a_damage():
    assert {name for names in DAMAGES.values() for name in names} == set(SOUND)


def blurred(values, strength):
    """A mixture with the picture at a quarter of its size."""
    small = interpolate(avg_pool2d(values, 4), scale_factor=4, mode="bilinear")
    return (1 - strength) * values + strength * small


def grainy(values, strength):
    return values + 0.3 * strength * counter.normal(0, "damage", shape=values.shape)


def tinted(values, strength):
    return values * torch.tensor([1 - 0.5 * strength, 1.0, 1 - 0.25 * strength])[:, None, None]


PICTURE = {measure.name: measure for measure in pictures.measures(32, 32)}
SPOILED = {
    blurred: ("slope of the spectrum", "patches at 32x32", "colour moments"),
    grainy: ("slope of the spectrum", "patches at 32x32", "patches at 16x16", "colour moments"),
    tinted: ("mean colour", "colour moments", "patches at 16x16"),
}


@pytest.mark.parametrize(("damage", "name"), [(d, name) for d, names in SPOILED.items() for name in names])
def test_more_damage_to_pictures_is_worse(drawings, damage, name):
    found = [
        value(PICTURE[name], Pictures(damage(drawings.values, strength)), drawings)
        for strength in (0.0, *STRENGTHS)
    ]
    assert all(a < b for a, b in pairwise(found)), found


def test_every_measure_of_pictures_is_covered_by_a_damage():
    assert {name for names in SPOILED.values() for name in names} == set(PICTURE)


def shuffled_together(many):
    order = torch.tensor(counter.permutation(0, "order", size=COUNT))
    if isinstance(many, Pictures):
        return Pictures(many.values[order])
    return dataclasses.replace(many, waves=many.waves[order], asked=many.asked[order])


@pytest.mark.parametrize("name", [*SOUND, *PICTURE])
def test_the_order_of_the_samples_is_no_matter(notes, drawings, name):
    real = notes if name in SOUND else drawings
    other = heard(seed=5) if name in SOUND else seen(seed=5)
    measure = (SOUND | PICTURE)[name]
    both = [value(measure, other, real), value(measure, *map(shuffled_together, (other, real)))]
    assert both[0] == pytest.approx(both[1], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", [*SOUND, *PICTURE])
def test_a_sample_beside_itself_is_as_good_as_can_be(notes, drawings, name):
    measure = (SOUND | PICTURE)[name]
    found = value(measure, *[notes if name in SOUND else drawings] * 2)
    best = {"envelope correlation": 1.0, "within 20 cents": 100.0, "within 50 cents": 100.0}
    if measure.kind in (Kind.ASKED, Kind.TWIN):
        assert found == pytest.approx(best.get(name, 0.0), abs=3.0 if name == "pitch error" else 1e-4)
    elif measure.kind is Kind.SET:
        assert found <= 1e-6  # an unbiased distance of a set from itself is below 0


@pytest.mark.parametrize("kind", ["silence", "noise", "full scale", "faint"])
def test_extreme_sounds_have_finite_figures(notes, kind):
    waves = {
        "silence": torch.zeros_like(notes.waves),
        "noise": counter.normal(0, "extreme", shape=notes.waves.shape),
        "full scale": torch.ones_like(notes.waves),
        "faint": 1e-20 * notes.waves,
    }[kind]
    strange = dataclasses.replace(notes, waves=waves)
    for judged, real in ((strange, notes), (notes, strange), (strange, strange)):
        for measure in SOUND.values():
            figure = measure.figure(judged, real, counter.generator(0, "extreme"))
            assert all(map(torch.isfinite, torch.tensor([figure.value, figure.low, figure.high]))), (
                measure.name
            )


def test_extreme_pictures_have_finite_figures(drawings):
    for fill in (0.0, 1.0):
        strange = Pictures(torch.full_like(drawings.values, fill))
        for judged, real in ((strange, drawings), (drawings, strange), (strange, strange)):
            for measure in PICTURE.values():
                figure = measure.figure(judged, real, counter.generator(0, "extreme"))
                assert torch.tensor([figure.value, figure.low, figure.high]).isfinite().all(), measure.name


def test_the_floor_of_sounds_is_below_the_ceilings(notes):
    """What comes from one source is better than silence, noise and wrong pitches, beyond the intervals."""
    others = heard(seed=2)
    perfect = dataclasses.replace(notes, asked=None)
    table = compare(sounds.measures(pitched=True), perfect, notes, others, sounds.ceilings(notes, 0), seed=0)
    rows = {row.name: row.figures for row in table}
    assert set(rows["pitch error"]) == {"generated", "floor", "silence", "noise", "shuffled"}
    assert set(rows["log-mel statistics"]) == {"generated", "floor", "silence", "noise"}
    for name in ("pitch error", "log-mel statistics"):
        for ceiling in ("silence", "noise"):
            assert rows[name]["floor"].high < rows[name][ceiling].low, (name, ceiling)
    assert rows["pitch error"]["generated"].high < rows["pitch error"]["shuffled"].low
    assert rows["within 50 cents"]["generated"].low > rows["within 50 cents"]["shuffled"].high
    assert rows["harmonics to noise"]["floor"].low > rows["harmonics to noise"]["noise"].high
    assert rows["silent sounds"]["silence"].value == 100
    # Alone, some call silence better than a real note of another pitch: why ceilings stand beside them.
    assert rows["log spectral distance"]["silence"].value < rows["log spectral distance"]["floor"].value


def test_the_floor_of_pictures_is_below_the_ceilings(drawings):
    table = compare(
        pictures.measures(32, 32), drawings, drawings, seen(seed=2), pictures.ceilings(drawings, 0), seed=0
    )
    rows = {row.name: row.figures for row in table}
    for name in set(PICTURE) - {"mean colour"}:
        for ceiling in ("flat", "noise"):
            assert rows[name]["floor"].high < rows[name][ceiling].low, (name, ceiling)
    assert rows["mean colour"]["generated"].value == 0
    assert rows["mean colour"]["shuffled"].low > 0


def test_sounds_without_an_asked_pitch_do_not_count(notes):
    some = dataclasses.replace(notes, asked=torch.where(torch.arange(COUNT) < 6, notes.asked, torch.nan))
    assert SOUND["within 50 cents"].figure(notes, some, counter.generator(0, "x")).n == 6
