"""The pitch reader on tones whose pitch is known exactly, and on what has none."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiff import counter
from mmdiff.data.tones import PITCHES, TIMBRES, columns, hertz, tone
from mmdiff.metrics.pitch import Pitch, agreement, cents, folded, harmonicity, pitch

RATE = 16000


def sines(pitches, sample_rate=RATE, seconds=1.0):
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return torch.stack([torch.sin(2 * math.pi * hertz(p) * time).float() for p in pitches])


def notes(count, seed=0):
    made = [tone(seed, index) for index in range(count)]
    return torch.cat([wave for wave, _ in made]), torch.tensor([float(known["pitch"]) for _, known in made])


def test_every_pitch_of_every_timbre_is_read_within_ten_cents():
    first = {}
    for index in range(4000):
        known = columns(5, index)
        first.setdefault((known["pitch"], known["timbre"]), index)
    assert len(first) == len(PITCHES) * len(TIMBRES)
    waves = torch.cat([tone(5, index)[0] for index in first.values()])
    asked = torch.tensor([float(midi) for midi, _ in first])
    found = pitch(waves, RATE)
    assert found.voiced.all()
    assert (cents(found.midi, asked).abs() <= 10).float().mean() >= 0.99


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
def test_sines_are_read_from_the_lowest_to_the_highest_pitch(sample_rate):
    asked = torch.arange(24, 108 if sample_rate > 8000 else 100).float() + 0.37
    found = pitch(sines(asked.tolist(), sample_rate, 0.6), sample_rate)
    assert found.voiced.all()
    assert cents(found.midi, asked).abs().max() < 3


@given(st.floats(40, 90), st.floats(-80, 0), st.floats(-0.2, 0.2))
@settings(max_examples=20)
def test_neither_level_nor_a_constant_changes_the_pitch(midi, level, constant):
    wave = sines([midi], seconds=0.3)
    changed = 10 ** (level / 20) * (wave + constant)
    assert cents(pitch(changed, RATE).midi, torch.tensor([midi])).abs() < 5


def test_a_missing_fundamental_is_heard():
    time = torch.arange(RATE) / RATE
    wave = sum(torch.sin(2 * math.pi * 200 * k * time) for k in (2, 3, 4, 5))
    assert pitch(wave[None], RATE).midi == pytest.approx(69 + 12 * math.log2(200 / 440), abs=0.05)


def test_what_has_no_pitch_is_unvoiced():
    noise = counter.normal(0, "noise", shape=(8, RATE))
    broken = sines([60, 60])
    broken[0, 100], broken[1, 7] = math.nan, math.inf
    waves = torch.cat([noise, torch.zeros(1, RATE), torch.full((1, RATE), 0.5), broken])
    found = pitch(waves, RATE)
    assert not found.voiced.any()
    assert not found.midi.any()
    assert found.strength.isfinite().all()
    assert harmonicity(found.strength).max() < 0


@given(st.integers(0, 70), st.integers(0, 3))
def test_no_length_or_count_crashes(samples, count):
    found = pitch(torch.ones(count, samples), RATE)
    assert found.midi.shape == (count,)
    assert found.midi.isfinite().all()


def test_permuting_the_notes_permutes_the_pitches():
    waves, _ = notes(70)  # more than is worked on at once
    order = torch.tensor(counter.permutation(0, "order", size=70))
    found, moved = pitch(waves, RATE), pitch(waves[order], RATE)
    for x, y in zip(found, moved, strict=True):
        torch.testing.assert_close(x[order], y, atol=1e-4, rtol=0)


def test_a_broken_neighbour_changes_nothing():
    waves, _ = notes(4)
    alone = pitch(waves, RATE)
    waves[1] = math.nan
    for x, y in zip(alone, pitch(waves, RATE), strict=True):
        torch.testing.assert_close(x[[0, 2, 3]], y[[0, 2, 3]], atol=1e-4, rtol=0)


def test_wrong_octaves_are_counted_as_such():
    asked = torch.tensor([60.0, 60, 60, 60, 60])
    found = Pitch(
        midi=torch.tensor([60.3, 72.1, 36.0, 66.0, 0.0]),
        strength=torch.tensor([0.9, 0.9, 0.9, 0.9, 0.1]),
        voiced=torch.tensor([True, True, True, True, False]),
    )
    shares = {name: rate.share for name, rate in agreement(found, asked).items()}
    assert shares == pytest.approx(
        {"within 20": 0, "within 50": 0.2, "octaves aside": 0.6, "octave off": 0.4, "voiced": 0.8}
    )
    with pytest.raises(ValueError, match="expected as many"):
        agreement(found, asked[:2])


@given(st.floats(-5000, 5000))
def test_folding_takes_off_whole_octaves(error):
    rest = float(folded(torch.tensor([error])))
    assert -600 <= rest <= 600
    assert (error - rest) / 1200 == pytest.approx(round((error - rest) / 1200), abs=1e-3)


def test_harmonicity_is_the_ratio_that_was_mixed():
    """Noise of a known power under a steady tone."""
    noise = counter.normal(0, "noise", shape=(1, 4 * RATE))
    for asked in (0.0, 10.0, 20.0):
        wave = math.sqrt(2) * sines([57], seconds=4.0) + 10 ** (-asked / 20) * noise
        assert harmonicity(pitch(wave, RATE).strength) == pytest.approx(asked, abs=1)


def test_more_noise_is_less_harmonic():
    waves, _ = notes(20)
    noise = counter.normal(0, "noise", shape=waves.shape)
    strengths = [
        float(pitch(waves + level * noise, RATE).strength.mean()) for level in (0, 0.01, 0.03, 0.1, 0.3)
    ]
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(strengths)) == 5


def test_a_larger_shift_is_a_larger_error():
    asked = torch.arange(50.0, 80.0)
    errors = []
    for shift in (0, 0.1, 0.3, 0.6, 1.5):
        found = pitch(sines((asked + shift).tolist(), seconds=0.4), RATE)
        errors.append(float(cents(found.midi, asked).abs().mean()))
    assert errors == pytest.approx([0, 10, 30, 60, 150], abs=2)
