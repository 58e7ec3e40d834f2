import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff import counter
from mmdiff.metrics.logmel import log_mel_statistics, mel_bands

RATE = 16000


def sine(hertz, amplitude=1.0, samples=RATE):
    return amplitude * torch.sin(2 * math.pi * hertz / RATE * torch.arange(samples))[None]


def test_a_sine_is_in_its_band_at_its_level():
    found = log_mel_statistics(sine(1000), RATE)[0]
    mel = 2595 * math.log10(1 + 1000 / 700)
    assert int(found[:40].argmax()) == pytest.approx(41 * mel / 2840 - 1, abs=1)
    assert float(found[:40].max()) == pytest.approx(0, abs=3)
    assert float(log_mel_statistics(sine(1000, 0.1), RATE)[0, :40].max() - found[:40].max()) == pytest.approx(
        -20, abs=0.01
    )


def test_triangles_overlap_by_half_and_none_is_empty():
    bands = mel_bands(RATE, 1024, 40)
    assert bands.shape == (513, 40)
    assert (bands.sum(0) > 0).all()
    inner = bands.sum(1)[4:470]
    torch.testing.assert_close(inner, torch.ones_like(inner), atol=1e-4, rtol=0)


def test_what_moves_has_a_deviation_and_what_is_steady_has_none():
    beating = sine(1000) * (0.55 + 0.45 * torch.cos(2 * math.pi * 2 / RATE * torch.arange(RATE)))
    band = int(log_mel_statistics(sine(1000), RATE)[0, :40].argmax())
    steady, moving = (log_mel_statistics(wave, RATE)[0, 40 + band] for wave in (sine(1000), beating))
    assert moving > 2 * steady


def test_the_order_of_time_hardly_matters_and_that_of_the_batch_not_at_all():
    waves = counter.normal(0, "noise", shape=(3, RATE))
    found = log_mel_statistics(waves, RATE)
    torch.testing.assert_close(log_mel_statistics(waves.flip(0), RATE), found.flip(0))
    torch.testing.assert_close(log_mel_statistics(waves.flip(1), RATE), found, atol=0.5, rtol=0)


@given(st.integers(1, 3000), st.sampled_from([2000, 16000, 44100]))
def test_any_length_and_silence_are_finite(samples, rate):
    for waves in (
        torch.zeros(2, samples),
        counter.normal(0, "noise", shape=(2, samples)),
        torch.ones(1, samples),
    ):
        assert log_mel_statistics(waves, rate).isfinite().all()
