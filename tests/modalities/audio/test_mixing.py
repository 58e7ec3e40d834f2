import math

import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.modalities.audio import mixing
from mmdiff.modalities.audio.mixing import mapped, resampled

RATES = st.sampled_from([1, 50, 8000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000])


def sine(rate: int, hertz: float, seconds: float = 0.5) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(round(rate * seconds)).double() / rate)[None].float()


@given(st.integers(1, 300), RATES, RATES)
def test_the_length_is_the_ceiling(samples, old, new):
    wave = torch.randn(2, min(samples, 1 + 2_000_000 // (new // old + 1)))
    made = resampled(wave, old, new)
    assert made.shape == (2, -(-wave.shape[-1] * new // old))
    assert bool(made.isfinite().all())


@pytest.mark.parametrize("new", [8000, 11_127, 15_999, 22_050, 48_000])
def test_a_tone_stays_the_tone(new):
    made = resampled(sine(16_000, 440), 16_000, new)
    middle = slice(len(made[0]) // 4, -len(made[0]) // 4)
    assert (made - sine(new, 440, made.shape[-1] / new))[:, middle].abs().max() < 4e-3


def test_what_the_new_rate_cannot_hold_is_gone():
    made = resampled(sine(16_000, 6000), 16_000, 8000)
    assert made[:, 200:-200].abs().max() < 0.01


@pytest.mark.parametrize(
    ("old", "new"), [(44_100, 16_000), (16_000, 44_100), (8000, 11_025), (48_000, 16_000)]
)
def test_rates_with_many_phases_get_the_same_filter(old, new, monkeypatch):
    wave = torch.randn(2, 3, 2000)
    by_torchaudio = torchaudio.functional.resample(wave, old, new)
    monkeypatch.setattr(mixing, "_MOST_TAPS", 2**10)
    torch.testing.assert_close(resampled(wave, old, new), by_torchaudio, atol=2e-4, rtol=0)


def test_the_same_rate_and_silence_change_nothing():
    wave = torch.randn(1, 100)
    assert torch.equal(resampled(wave, 8000, 8000), wave)
    assert not resampled(torch.zeros(1, 100), 8000, 11_127).any()
    with pytest.raises(ValueError, match="at least 1 Hz"):
        resampled(wave, 0, 8000)


def test_each_channel_of_each_wave_is_on_its_own():
    wave = torch.randn(2, 2, 500)
    made = resampled(wave, 16_000, 22_050)
    torch.testing.assert_close(made[1, 0], resampled(wave[1, :1], 16_000, 22_050)[0])


@given(st.integers(1, 6), st.integers(1, 6))
def test_channels_are_mixed_by_their_mean_and_copied(old, new):
    wave = torch.randn(3, old, 20)
    made = mapped(wave, new)
    assert made.shape == (3, new, 20)
    torch.testing.assert_close(made.mean(1), wave.mean(1))
    if old == new:
        assert torch.equal(made, wave)
    else:
        assert torch.equal(made, made[:, :1].expand_as(made))


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match="0 channels"):
        mapped(torch.zeros(1, 5), 0)
