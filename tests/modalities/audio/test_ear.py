import pytest
import torch

from mmdiff.modalities.audio.ear import bandwidth, gains
from mmdiff.modalities.audio.modality import Audio
from mmdiff.modalities.audio.spectra import representation


def test_the_bandwidth_is_the_published_one():
    """Glasberg and Moore (1990): 35.5 Hz around 100 Hz, 132.6 Hz around 1 kHz, 888.2 Hz around 8 kHz."""
    found = bandwidth(torch.tensor([100.0, 1000.0, 8000.0]))
    torch.testing.assert_close(found, torch.tensor([35.49, 132.64, 888.21]), atol=0.01, rtol=0)


def test_bands_that_the_ear_cannot_tell_apart_count_the_same():
    hertz = torch.arange(0.0, 8000.0, 2.0)
    power = gains(hertz).square()
    assert float(power.mean()) == pytest.approx(1)
    middles = torch.tensor([300.0, 3000.0])
    inside = (hertz - middles[:, None]).abs() <= bandwidth(middles)[:, None] / 2
    low, high = (inside * power).sum(1).tolist()
    assert low == pytest.approx(high, rel=0.03)


@pytest.mark.parametrize("spec", ["mdct(bins=64)", "stft(size=128, hop=64)", "polar(size=128, hop=32)"])
@pytest.mark.parametrize("frequency", [500.0, 1375.0, 3500.0])
def test_a_tone_is_loudest_in_the_bin_of_its_frequency(spec, frequency):
    part = representation(spec, 8000)
    wave = torch.sin(2 * torch.pi * frequency * torch.arange(4000) / 8000)[None]
    x0 = part.encode(wave)[:, 10:-10]
    assert len(part.hertz) == len(x0)
    loud = x0[: len(x0) // 2] if spec.startswith("polar") else x0.abs()
    nearest = part.hertz[loud.mean(1).argmax()]
    assert abs(float(nearest) - frequency) <= 8000 / 128


def test_each_channel_of_a_wave_counts_the_same():
    stereo = Audio(16_000, 2, spectrum="stft(size=16, hop=8)").gains
    assert torch.equal(stereo[:16], stereo[16:])
    assert torch.equal(Audio(spectrum="wave(patch=5)").gains, torch.ones(5))
    assert torch.equal(Audio(spectrum="mel").gains, torch.ones(80))
