"""The measures of sounds on what is known exactly, and their order under four strengths of each damage."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff import counter
from mmdiff.data.tones import hertz, tone
from mmdiff.metrics import sounds

RATE = 16000
STRENGTHS = (0.0, 0.02, 0.06, 0.2, 0.6)  # none, and four


def notes(count=8, seed=0, seconds=1.0):
    return torch.cat([tone(seed, index, RATE, seconds)[0] for index in range(count)])


def noise(shape, seed=0):
    return counter.normal(seed, "noise", shape=shape)


def noisy(waves, strength):
    return waves + 0.3 * strength * noise(waves.shape)


def shifted(waves, strength):
    """Played faster by up to three semitones: the pitch rises with the strength."""
    speed = 2 ** (strength / 4)
    at = torch.arange(waves.shape[1]) * speed
    low = at.long().clamp(max=waves.shape[1] - 1)
    high, part = (low + 1).clamp(max=waves.shape[1] - 1), (at - low).float()
    part = part.clamp(0, 1)
    return (1 - part) * waves[:, low] + part * waves[:, high]


def dropped(waves, strength):
    """A share of the frames of 20 ms is silent; the frames of a weaker strength are among them."""
    order = torch.tensor(counter.permutation(0, "dropout", size=waves.shape[1] // 320))
    gone = torch.zeros(waves.shape[1] // 320, dtype=torch.bool)
    gone[order[: round(strength * len(order))]] = True
    return waves * ~gone.repeat_interleave(320)


DAMAGES = {"noise": noisy, "pitch shift": shifted, "dropout": dropped}
DISTANCES = {
    "convergence": lambda x, y: sounds.spectral_distance(x, y).convergence,
    "log magnitude": lambda x, y: sounds.spectral_distance(x, y).log_magnitude,
    "envelope error": lambda x, y: sounds.envelope_error(x, y, RATE),
    "envelope correlation": lambda x, y: 1 - sounds.envelope_correlation(x, y, RATE),
}


# An envelope has no pitch
PAIRS = [(d, m) for d in DAMAGES for m in DISTANCES if d != "pitch shift" or not m.startswith("envelope")]


@pytest.mark.parametrize(("damage", "measure"), PAIRS)
def test_more_damage_is_a_larger_distance(damage, measure):
    waves = notes()
    found = [float(DISTANCES[measure](DAMAGES[damage](waves, s), waves).mean()) for s in STRENGTHS]
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert all(a < b for a, b in pairwise(found))


def measures(waves):
    real = notes(len(waves), seed=1)
    seam = sounds.seam(waves, 0.5, RATE)
    return {
        "rms": sounds.rms(waves),
        "peak": sounds.peak(waves),
        "clipped": sounds.clipped(waves),
        "silent": sounds.silent(waves, RATE),
        "onset": sounds.onset(waves, RATE),
        "flux": sounds.flux(waves, RATE),
        "seam": seam.ratio,
        "rank": seam.rank,
        **{name: measure(waves, real) for name, measure in DISTANCES.items()},
        "reversed": sounds.spectral_distance(real, waves).convergence,
    }


def test_permuting_the_waves_permutes_every_measure():
    waves = notes(9)
    order = torch.tensor(counter.permutation(0, "order", size=9))
    moved = measures(waves[order])
    paired = set(DISTANCES) | {"reversed"}
    for name, value in measures(waves).items():
        if name not in paired:
            torch.testing.assert_close(value[order], moved[name], atol=1e-4, rtol=1e-4, msg=name)
    real = notes(9, seed=1)
    for name, measure in DISTANCES.items():
        value = measure(waves, real)[order]
        torch.testing.assert_close(value, measure(waves[order], real[order]), atol=1e-4, rtol=1e-4, msg=name)


def test_silence_and_noise_are_measured_without_nan():
    for waves in (torch.zeros(3, RATE), noise((3, RATE)), torch.full((3, RATE), 1e-30)):
        for name, value in measures(waves).items():
            assert value.isfinite().all(), name


@given(st.integers(1, 400))
def test_no_length_crashes(samples):
    waves = noise((2, samples))
    for value in (
        sounds.rms(waves),
        sounds.silent(waves, RATE),
        sounds.onset(waves, RATE),
        sounds.flux(waves, RATE),
        sounds.spectral_distance(waves, waves).convergence,
    ):
        assert value.isfinite().all()


def test_levels_of_a_sine():
    wave = 0.5 * torch.sin(2 * math.pi * 1000 / RATE * torch.arange(RATE))[None]
    assert sounds.rms(wave) == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert sounds.peak(wave) == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert sounds.rms(0 * wave) == sounds.FLOOR
    torch.testing.assert_close(
        sounds.envelope(wave, RATE)[:, 2:-2], torch.full((1, 97), 0.5 / math.sqrt(2)), atol=1e-3, rtol=0
    )


def test_clipped_and_silent_shares():
    waves = torch.zeros(2, RATE)
    waves[0, :4000], waves[1, 8000:] = 1.0, -0.5
    assert sounds.clipped(waves).tolist() == [0.25, 0.0]
    assert sounds.silent(waves, RATE).tolist() == pytest.approx([0.75, 0.5], abs=0.02)
    assert sounds.silent(1e-4 * waves, RATE).tolist() == [1.0, 1.0]


def test_onsets_of_tones_are_found_within_seven_milliseconds():
    made = [tone(2, index) for index in range(100)]
    found = sounds.onset(torch.cat([wave for wave, _ in made]), RATE)
    asked = torch.tensor([known["onset"] for _, known in made])
    errors = found - asked
    assert errors.abs().max() < 0.007
    assert sounds.onset(torch.zeros(1, RATE), RATE) == 1.0


def test_an_envelope_is_compared_whatever_the_sound_below_it():
    time = torch.arange(RATE) / RATE
    shape = torch.exp(-4 * time)
    one, two = (shape * torch.sin(2 * math.pi * hertz(p) * time) for p in (60, 72))
    assert sounds.envelope_correlation(one[None], 0.1 * two[None], RATE) > 0.99
    assert sounds.envelope_error(0.5 * one[None], one[None], RATE) == pytest.approx(6.02, abs=0.1)
    assert sounds.envelope_correlation(one.flip(0)[None], one[None], RATE) < 0
    assert sounds.envelope_correlation(torch.zeros(1, RATE), one[None], RATE) == 0


def test_flux_has_its_range():
    steady = torch.sin(2 * math.pi * 500 / RATE * torch.arange(RATE))[None]
    assert sounds.flux(steady, RATE)[:, 8:-8].max() < 1e-3
    switched = torch.cat([steady[:, :8000], torch.sin(torch.arange(8000) * 2.0)[None]], dim=1)
    changes = sounds.flux(switched, RATE)[0]
    assert int(changes[8:-8].argmax()) + 8 == pytest.approx(8000 / 128, abs=2)
    assert changes.max() <= 1
    torch.testing.assert_close(sounds.flux(switched, RATE), sounds.flux(1e-3 * switched, RATE))


def test_a_cut_in_a_note_is_a_seam_and_its_middle_is_none():
    """Two notes spliced at a time, as against one that goes on."""
    waves = [tone(0, index)[0] for index in range(200) if tone(0, index)[1]["timbre"] in {"organ", "hollow"}][
        :10
    ]
    whole = torch.cat(waves)
    spliced = torch.cat([whole[:, :8000], whole.roll(1, 0)[:, 8000:]], dim=1)
    reference = sounds.flux(whole[:, 3200:12800], RATE)[:, 4:-4].flatten()
    calm, torn = (sounds.seam(x, 0.5, RATE, reference) for x in (whole, spliced))
    assert calm.ratio.median() <= 1.2
    assert torn.ratio.min() > 3
    assert torn.rank.min() > 0.99
    assert sounds.seam(spliced[:, 3200:12800], 0.3, RATE).rank.min() > 0.9
    for at, reference in ((2.0, None), (-1.0, torch.ones(3))):
        with pytest.raises(ValueError, match="expected a time inside"):
            sounds.seam(whole, at, RATE, reference)
