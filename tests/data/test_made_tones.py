import math
import pickle
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data import tones
from mmdiff.data.tones import PITCHES, TIMBRES, VELOCITIES, Tones, columns, hertz, tone, truths

SEEDS, INDICES = st.integers(0, 2**31), st.integers(0, 2**31)


@given(SEEDS, INDICES, st.sampled_from([8000, 16000, 22050, 44100]), st.floats(0.01, 0.5))
def test_a_note_is_a_function_of_seed_and_index(seed, index, sample_rate, seconds):
    wave, known = tone(seed, index, sample_rate, seconds)
    assert wave.shape == (1, round(seconds * sample_rate))
    assert wave.dtype == torch.float32
    assert torch.equal(wave, tone(seed, index, sample_rate, seconds)[0])
    assert known == columns(seed, index, seconds)


@given(SEEDS, INDICES)
def test_nothing_clips_clicks_or_sounds_before_its_onset(seed, index):
    wave, known = tone(seed, index)
    assert wave.abs().max() < 1
    start = int(known["onset"] * 16000)
    assert not wave[0, : start + 1].any()
    assert wave[0, start + 1 :].any()
    for edge in (wave[0, start : start + 8], wave[0, -8:]):
        assert edge.abs().max() < 0.1 * wave.abs().max()


def test_partials_cannot_add_up_beyond_full_scale():
    for timbre in TIMBRES.values():
        amplitudes = [amplitude for _, amplitude, _ in timbre.partials]
        crest = sum(amplitudes) / math.sqrt(sum(a**2 for a in amplitudes) / 2)
        assert 0.15 * crest < 1


def test_a_note_at_twice_the_sample_rate_is_the_same_note():
    """As long as half the lower rate is above every partial: 40 x 1047 Hz."""
    for index in range(30):
        slow, fast = tone(0, index, 96000, 0.2)[0], tone(0, index, 192000, 0.2)[0]
        torch.testing.assert_close(slow, fast[:, ::2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("timbre", TIMBRES)
def test_all_energy_is_at_the_partials_below_half_the_sample_rate(timbre):
    """Aliases would be elsewhere: with pitches in equal temperament they meet no multiple of the pitch."""
    for index in (i for i in range(300) if columns(0, i)["timbre"] == timbre):
        wave, known = tone(0, index, 16000)
        spectrum = torch.fft.rfft(wave[0].double() * torch.hann_window(16000, dtype=torch.float64)).abs() ** 2
        near = torch.zeros(8001, dtype=torch.bool)
        for ratio, _, _ in TIMBRES[timbre].partials:
            if (at := ratio * hertz(known["pitch"])) < 8000:
                near[max(int(at) - 25, 0) : int(at) + 26] = True
        assert spectrum[~near].sum() < 1e-4 * spectrum.sum()


def test_loud_differs_from_soft_by_the_velocity():
    powers = {name: [] for name in VELOCITIES}
    for index in range(200):
        wave, known = tone(0, index)
        if known["timbre"] == "sine":
            powers[known["loudness"]].append(float(wave.square().mean()))
    soft, loud = (sum(x) / len(x) for x in powers.values())
    assert 10 * math.log10(loud / soft) == pytest.approx(20 * math.log10(110 / 45), abs=0.3)


def test_captions_tell_the_truth_in_english():
    rows = list(truths())
    assert len(rows) == len(PITCHES) * len(TIMBRES) * len(VELOCITIES) == 480
    assert len({row["text"] for row in rows}) == 3 * 6 * 2
    assert tones.truth(45, "plucked", "loud")["text"] == "a loud low plucked tone"
    assert tones.truth(84, "bell", "soft")["text"] == "a soft high bell tone"
    for row in rows:
        assert row["timbre"] in row["text"]
        assert row["loudness"] in row["text"]
        assert ("low" in row["text"].split()) == (row["pitch"] < 58)


def test_every_property_is_about_as_frequent():
    rows = [columns(0, index) for index in range(5000)]
    for name, values in (("pitch", PITCHES), ("timbre", TIMBRES), ("loudness", VELOCITIES)):
        counts = Counter(row[name] for row in rows)
        expected = 5000 / len(values)
        assert set(counts) == set(values)
        # Five standard deviations of a binomial count
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())
    onsets = torch.tensor([row["onset"] for row in rows])
    assert 0 <= onsets.min() < 0.001
    assert 0.049 < onsets.max() < 0.05


def test_the_set_of_tones():
    made = Tones(3, 10, sample_rate=8000, seconds=0.25)
    assert len(made) == 10
    wave, known = made[7]
    assert torch.equal(wave, tone(3, 7, 8000, 0.25)[0])
    assert known == made.columns(7) == columns(3, 7, 0.25)
    assert made.name(7) == "tone 7 of seed 3"
    assert torch.equal(pickle.loads(pickle.dumps(made))[7][0], wave)
    with pytest.raises(IndexError):
        made[10]
