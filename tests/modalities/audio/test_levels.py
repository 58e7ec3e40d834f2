import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchaudio.functional import loudness

from mmdiff.errors import UserError
from mmdiff.modalities.audio.levels import FLOOR, POLICIES, levelled

RATE = 16_000
GAINS = st.floats(0.05, 20)


def music(channels: int = 1, seconds: float = 0.6) -> torch.Tensor:
    t = torch.arange(round(RATE * seconds)) / RATE
    return torch.stack([0.2 * torch.sin(2 * math.pi * 440 * (i + 1) * t) for i in range(channels)])


def rms(wave: torch.Tensor) -> float:
    return float(wave.double().square().mean().sqrt())


@given(GAINS, st.integers(1, 6))
def test_peak_brings_the_largest_sample_to_minus_1_db(gain, channels):
    assert 20 * math.log10(levelled(gain * music(channels), RATE, "peak").abs().max()) == pytest.approx(
        -1, abs=1e-3
    )


@given(GAINS, st.integers(1, 6))
def test_rms_is_at_minus_18_db(gain, channels):
    assert 20 * math.log10(rms(levelled(gain * music(channels), RATE, "rms"))) == pytest.approx(-18, abs=1e-3)


@given(GAINS, st.integers(1, 5))
def test_loudness_is_minus_14_lufs(gain, channels):
    made = levelled(gain * music(channels), RATE, "loudness")
    quarter = float(loudness(made / 4, RATE))  # torchaudio's filters clamp what is louder
    assert quarter + 20 * math.log10(4) == pytest.approx(-14, abs=0.01)


@pytest.mark.parametrize("wave", [music(seconds=0.3), music(channels=6), music()[:, :1]])
def test_what_has_no_loudness_goes_by_rms(wave):
    wave = wave + 0.1
    assert torch.equal(levelled(wave, RATE, "loudness"), levelled(wave, RATE, "rms"))


def test_mostly_silent_sounds_have_no_gated_loudness_at_worst():
    wave = torch.zeros(1, RATE)
    wave[0, 100] = 0.9
    assert bool(levelled(wave, RATE, "loudness").isfinite().all())


@pytest.mark.parametrize("policy", POLICIES)
@given(st.integers(1, 20_000), st.floats(0, FLOOR / 2))
def test_silence_stays_silence(policy, samples, size):
    quiet = size * torch.ones(2, samples)
    assert torch.equal(levelled(quiet, RATE, policy), quiet)


@pytest.mark.parametrize("policy", ["peak", "rms", "loudness"])
@given(GAINS)
def test_the_gain_before_does_not_matter(policy, gain):
    torch.testing.assert_close(
        levelled(gain * music(), RATE, policy), levelled(music(), RATE, policy), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("policy", ["none", "peak", "rms", "loudness"])
def test_the_wave_keeps_its_shape(policy):
    made, wave = levelled(3 * music(2), RATE, policy), music(2)
    torch.testing.assert_close(made / made.abs().max(), wave / wave.abs().max())


def test_none_changes_nothing_and_clip_what_is_too_loud():
    loud = torch.tensor([[0.5, 1.5, -3.0, 1.0]])
    assert torch.equal(levelled(loud, RATE), loud)
    assert levelled(loud, RATE, "clip").tolist() == [[0.5, 1, -1, 1]]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_samples_have_no_level(policy):
    assert levelled(torch.zeros(1, 0), RATE, policy).shape == (1, 0)


def test_unknown_policies_are_refused():
    with pytest.raises(UserError, match=r"'louder'.*did you mean 'loudness'"):
        levelled(music(), RATE, "louder")
