import math

import numpy as np
import pytest
import torch

from mmdiff.modalities.audio.picture import COLOURS, spectrogram


def light(picture) -> np.ndarray:
    """Relative luminance of each pixel, 0 to 1 (sRGB, IEC 61966-2-1)."""
    share = np.asarray(picture, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def sine(hertz: float, samples: int = 16_000) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / 16_000)[None]


@pytest.mark.parametrize("hertz", [500, 2000, 7000])
def test_a_tone_is_a_line_at_its_height(hertz):
    rows = light(spectrogram(sine(hertz))).mean(1)
    assert abs((127 - int(rows.argmax())) - hertz / 8000 * 128) <= 1
    assert rows.max() > 0.8


def test_time_runs_to_the_right():
    wave = torch.zeros(2, 16_000)
    wave[:, 12_000:] = 0.1 * torch.randn(2, 4000)
    columns = light(spectrogram(wave)).mean(0)
    share = len(columns) * 3 // 4
    assert columns[: share - 4].max() < 0.01 < columns[share + 4 :].min()


def test_the_same_level_has_the_same_colour_in_every_picture():
    loud, soft = light(spectrogram(sine(1000))), light(spectrogram(0.01 * sine(1000)))
    assert soft.max() < loud.max()
    assert (np.asarray(spectrogram(torch.zeros(1, 5000))) == COLOURS[0]).all()


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 100_000])
def test_sizes(samples):
    picture = spectrogram(torch.randn(1, samples), height=64, width=100)
    assert picture.mode == "RGB"
    assert picture.height == 64
    assert picture.width == min(-(-samples // 32), -(-samples // -(-samples // 100)))


def test_the_colours_are_even_steps_of_lightness():
    shades = 116 * light(np.array(COLOURS, np.uint8)[None])[0] ** (1 / 3) - 16
    assert np.diff(shades[1:]) == pytest.approx(95 / 8, abs=1.5)


def test_nothing_and_nan_are_refused():
    for wave in (torch.zeros(1, 0), torch.full((1, 9), torch.nan)):
        with pytest.raises(ValueError, match="at least one sample"):
            spectrogram(wave)
