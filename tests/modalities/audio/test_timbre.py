"""What a recording lends as a reference: its timbre and its envelope."""

import pytest
import torch

from mmdiff.data import tones
from mmdiff.modalities import Audio, Sample
from mmdiff.modalities.audio.timbre import FEATURES, timbre

RATE = 16_000


def note(kind: str, pitch: int) -> torch.Tensor:
    """A loud note of a timbre, from the tones that code makes."""
    found = (i for i in range(5000) if matches(tones.columns(0, i), kind, pitch))
    return tones.tone(0, next(found), RATE)[0][0]


def matches(columns, kind: str, pitch: int) -> bool:
    return (columns["timbre"], columns["pitch"], columns["loudness"]) == (kind, pitch, "loud")


def test_the_level_does_not_count_and_the_numbers_are_of_unit_size():
    seen = torch.stack([timbre(note(kind, 60), RATE) for kind in tones.TIMBRES])
    assert seen.shape == (len(tones.TIMBRES), FEATURES)
    assert 0.3 < seen.std() < 3
    torch.testing.assert_close(timbre(0.1 * note("bright", 60), RATE), timbre(note("bright", 60), RATE))


def test_notes_of_one_timbre_are_alike_whatever_their_pitch():
    """The nearest of six timbres, three semitones higher, is the same one."""
    kinds = list(tones.TIMBRES)
    low, high = (torch.stack([timbre(note(kind, pitch), RATE) for kind in kinds]) for pitch in (57, 60))
    assert torch.cdist(low, high).argmin(1).tolist() == list(range(len(kinds)))


@pytest.mark.parametrize("samples", [1, 100, 1024, 50_000])
def test_any_length_and_silence_give_finite_numbers(samples):
    assert timbre(torch.zeros(samples), RATE).isfinite().all()
    assert timbre(torch.randn(samples), RATE).isfinite().all()


@pytest.mark.parametrize("spectrum", ["mdct(bins=64)", "stft(size=256, hop=64)", "wave(patch=64)"])
def test_the_envelope_is_the_level_of_each_frame(spectrum):
    modality = Audio(RATE, 2, 1.0, spectrum)
    level = torch.cat([torch.full((8000,), 10 ** (-12 / 20)), torch.zeros(8000)])
    window = (level * torch.sin(torch.arange(16_000) * 0.7) * 2**0.5).expand(2, -1)
    curve = modality.envelope(window)
    assert curve.shape == (1, modality.shape[1])
    assert curve[0, 5:100].sub(1 - 12 / 60).abs().max() < 0.02
    assert curve[0, 130:].abs().max() == 0


def test_the_modality_measures_whole_sounds():
    modality = Audio()
    packed = modality.pack(Sample(note("bell", 60).expand(2, -1), sample_rate=RATE))
    torch.testing.assert_close(modality.style(packed), timbre(note("bell", 60), RATE))
    assert modality.styles == FEATURES
