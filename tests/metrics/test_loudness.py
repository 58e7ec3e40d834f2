import math

import pytest
import torch
from torchaudio import functional

from mmdiff import counter
from mmdiff.metrics.loudness import SILENT, _high_pass, _shelf, loudness


def sine(hertz, level, sample_rate, seconds=3.0, channels=1):
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    return (10 ** (level / 20) * torch.sin(2 * math.pi * hertz * time)).expand(1, channels, -1)


@pytest.mark.parametrize("sample_rate", [16000, 44100, 48000])
def test_the_tone_of_the_standard(sample_rate):
    """ITU-R BS.1770-4, annex 1: 997 Hz at full scale in one channel is -3.01 LUFS."""
    assert loudness(sine(997, 0, sample_rate), sample_rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness(sine(997, -23, sample_rate, channels=2), sample_rate) == pytest.approx(-23, abs=0.06)


def test_the_filters_are_those_of_the_standard():
    """ITU-R BS.1770-4, tables 1 and 2: the coefficients at 48 kHz."""
    z = torch.exp(-2j * math.pi * torch.linspace(0.001, 0.5, 50, dtype=torch.float64))
    above = 1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2
    below = 1 - 1.69065929318241 * z + 0.73248077421585 * z**2
    torch.testing.assert_close(_shelf(z, 48000), above / below, atol=1e-8, rtol=0)
    below = 1 - 1.99004745483398 * z + 0.99007225036621 * z**2
    torch.testing.assert_close(_high_pass(z, 48000), (1 - 2 * z + z**2) / below, atol=1e-8, rtol=0)


def test_quiet_parts_are_gated():
    """EBU Tech 3341, case 3: 10 s at -36, 60 s at -23 and 10 s at -36 dB are -23 LUFS."""
    parts = [sine(1000, level, 8000, seconds, 2) for level, seconds in ((-36, 10), (-23, 60), (-36, 10))]
    assert loudness(torch.cat(parts, dim=-1), 8000) == pytest.approx(-23, abs=0.1)


def test_short_clips_and_silence_have_a_number():
    assert loudness(sine(997, -20, 16000, 0.1), 16000) == pytest.approx(-23, abs=0.2)
    for samples in (0, 1, 16000):
        assert loudness(torch.zeros(2, 1, samples), 16000).tolist() == [SILENT, SILENT]


def test_each_clip_by_itself():
    waves = (
        counter.normal(0, "noise", shape=(4, 2, 16000)) * torch.tensor([0.1, 0.01, 0.001, 0.0])[:, None, None]
    )
    found = loudness(waves, 16000)
    torch.testing.assert_close(found.flip(0), loudness(waves.flip(0), 16000))
    assert found[:3].diff().tolist() == pytest.approx([-20, -20], abs=0.5)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_parity_with_torchaudio(sample_rate):
    """It approximates the filters, which makes a tenth of a decibel."""
    waves = 0.1 * counter.normal(0, "noise", shape=(2, 2, 2 * sample_rate)).cumsum(-1).sin()
    waves[1, :, sample_rate:] *= 0.03
    expected = torch.stack([functional.loudness(wave, sample_rate) for wave in waves])
    torch.testing.assert_close(loudness(waves, sample_rate), expected, atol=0.2, rtol=0)
