"""Sound as a modality: files, windows, x0 and back."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiff.data import soundfiles
from mmdiff.data.library import Media
from mmdiff.data.sounds import decoded
from mmdiff.errors import UserError
from mmdiff.modalities import MODALITIES, Audio, BadFile, Image, Modality, Sample, modality_of
from mmdiff.recipe import Data, Recipe, Training

SPECTRA = ("mdct(bins=16)", "stft(size=32, hop=8)", "wave(patch=8)")


def sound(samples: int, channels: int = 1, rate: int = 2000, seed: int = 0) -> Sample:
    dice = torch.Generator().manual_seed(seed)
    return Sample(0.1 * torch.randn(channels, samples, generator=dice), sample_rate=rate)


def of(**data) -> Audio:
    made = modality_of(Recipe(modality="audio", data=Data(**data), training=Training(steps=1)))
    assert isinstance(made, Audio)
    return made


@pytest.mark.parametrize("modality", [Image(), Audio()])
def test_both_modalities_are_what_the_others_ask_for(modality):
    assert isinstance(modality, Modality)
    assert isinstance(modality, Media)
    assert MODALITIES[modality.name] is type(modality)
    assert modality.sized(modality.size) == modality
    assert modality.suffix.removeprefix(".") in modality.formats
    assert {f".{kind}" for kind in modality.formats} <= modality.suffixes


@settings(max_examples=25)
@given(st.integers(1, 200), st.integers(1, 2), st.sampled_from(SPECTRA))
def test_a_sound_of_the_right_length_survives(samples, channels, spectrum):
    modality = Audio(2000, channels, samples / 2000, spectrum)
    sample = sound(samples, channels)
    x0 = modality.encode(sample)
    assert x0.shape == modality.shape
    made = modality.decode(x0)
    assert (made.value.shape, made.sample_rate) == ((channels, samples), 2000)
    torch.testing.assert_close(made.value, sample.value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("seconds", [1 / 2000, 0.1234, 1.0, 1.5, 0.33333])
@pytest.mark.parametrize("rate", [2000, 11025])
def test_what_is_decoded_has_exactly_the_length(seconds, rate):
    modality = Audio(rate, 2, seconds, "mdct(bins=32)")
    assert modality.decode(torch.zeros(modality.shape)).value.shape == (2, round(seconds * rate))


def test_any_sample_rate_and_channels_come_to_those_of_the_run():
    packed = Audio(2000, 2).pack(sound(3000, 3, rate=6000))
    assert packed.shape == (2, 1000)
    assert torch.equal(packed[0], packed[1])
    assert packed.dtype == torch.float32


@given(st.integers(21, 60), st.floats(0, 1, exclude_max=True))
def test_windows_of_long_sounds_lie_inside_and_reach_every_place(length, place):
    modality = Audio(2000, 1, 20 / 2000, "mdct(bins=4)")
    packed = torch.arange(float(length))[None]
    window, valid = modality.window(packed, place)
    assert valid is None
    assert window.shape == (1, 20)
    start = int(window[0, 0])
    assert torch.equal(window, packed[:, start : start + 20])
    assert start == int(place * (length - 19))
    assert int(modality.window(packed, math.nextafter(1, 0))[0][0, 0]) == length - 20


@given(st.integers(1, 80), st.sampled_from(SPECTRA))
def test_a_short_sound_ends_in_padding_that_is_marked(length, spectrum):
    """Where the mask is 1, the coefficients are those of the sound alone."""
    modality = Audio(2000, 1, 80 / 2000, spectrum)
    sample = sound(length)
    window, valid = modality.window(modality.pack(sample), 0.7)
    alone, padded = modality.encode(sample), modality.unpack(window)
    assert padded.shape == modality.shape
    count = modality.shape[1] if valid is None else int(valid.sum())
    assert count == alone.shape[1]
    torch.testing.assert_close(padded[:, :count], alone, atol=1e-5, rtol=1e-4)
    if valid is not None:
        assert valid.shape == (1, modality.shape[1])
        assert (valid.diff() <= 0).all()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_is_no_sound(wrong):
    modality = Audio(2000, 1, 0.1, "mdct(bins=16)")
    x0 = torch.zeros(modality.shape)
    x0[1, 2] = wrong
    with pytest.raises(ValueError, match="not finite"):
        modality.decode(x0)


@pytest.mark.parametrize("kind", Audio.formats)
def test_files_have_the_exact_length_and_their_provenance(tmp_path, kind):
    modality, sample, told = Audio(8000, 2, 0.3), sound(2400, 2, rate=8000), {"prompt": "\u7ea2", "seed": 7}
    modality.write(sample, tmp_path / f"a.{kind}", told)
    data = (tmp_path / f"a.{kind}").read_bytes()
    again = modality.read(data, "a")
    assert again.value.shape == (2, 2400)
    assert again.sample_rate == 8000
    assert modality.read_provenance(data) == told == Audio.read_provenance(tmp_path / f"a.{kind}")
    if kind in ("wav", "flac"):
        assert (again.value - sample.value).abs().max() <= 2**-16


def test_a_stream_gets_a_wav(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        Audio(2000).write(sound(50), file)
    assert decoded((tmp_path / "a").read_bytes(), "a").wave.shape == (1, 50)


def test_the_level_is_that_of_the_recipe():
    modality = of(sample_rate=2000, seconds=0.1, representation="mdct(bins=16)", level="peak")
    quiet = modality.decode(modality.encode(sound(200))).value
    assert float(quiet.abs().max()) == pytest.approx(10 ** (-1 / 20), rel=1e-5)


def test_facts_and_preview():
    sample = sound(3000, 2)
    assert Audio().facts(sample) == {"seconds": 1.5, "sample_rate": 2000, "channels": 2}
    assert json.dumps(Audio().facts(sample))
    assert Audio().preview(sample).size[1] == 128


def test_what_cannot_be_read_is_said():
    with pytest.raises(BadFile, match="clip"):
        Audio().read(b"no sound", "clip")
    with pytest.raises(UserError, match="cannot be read as a sound"):
        Audio.read_provenance(b"no sound")
    with pytest.raises(UserError, match=r"cannot write sound as '\.png'"):
        Audio().to_bytes(sound(10), ".png")
    plain = soundfiles.encoded(sound(10).value, 2000)
    assert Audio.read_provenance(plain) is None


@pytest.mark.parametrize(("size", "seconds"), [("1.5s", 1.5), ("2s", 2.0), ("1e-1s", 0.1)])
def test_sizes_are_seconds(size, seconds):
    assert Audio().sized(size) == dataclasses.replace(Audio(), seconds=seconds)
    assert Audio().sized(Audio().sized(size).size).seconds == seconds


@pytest.mark.parametrize("size", ["32x32", "1.5", "s", "-1s", "0s", "nans", "infs", "1.5ss", "1e-9s"])
def test_what_is_no_length_is_refused(size):
    with pytest.raises(UserError, match=r"size '?"):
        Audio().sized(size)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"flip": True}, r"data\.flip: got true for audio"),
        ({"seconds": 1e-9}, r"data\.seconds: got 1e-09"),
        ({"representation": "mdtc"}, r"data\.representation: unknown representation 'mdtc'; did you mean"),
        ({"representation": "mdct(bins=0)"}, r"data\.representation: option 'bins'"),
        ({"representation": "mdct(bin=8)"}, r"data\.representation: .*'bins'"),
    ],
)
def test_what_a_recipe_says_wrong_is_named(data, says):
    with pytest.raises(UserError, match=says):
        of(**data)


def test_a_frame_lasts_as_long_as_its_hop():
    assert Audio(16000, spectrum="mdct(bins=256)").seconds_per_position == 256 / 16000
    assert Image().seconds_per_position is None


@pytest.mark.parametrize("spectrum", [*SPECTRA, "mel(bands=8, size=32, hop=16)", "polar(size=32, hop=8)"])
@pytest.mark.parametrize(
    ("places", "ranges"),
    [
        ("", [(0, 300)]),
        ("0-0.05", [(0, 100)]),
        ("0.05-", [(100, 300)]),
        ("-0.04, 0.1-0.12", [(0, 80), (200, 240)]),
    ],
)
def test_frames_are_kept_if_they_depend_on_nothing_else(spectrum, places, ranges):
    """Law: other samples change no frame that is kept, and every frame that is not."""
    modality = Audio(2000, 1, 0.2, spectrum)
    inside = torch.zeros(400, dtype=torch.bool)
    for start, end in ranges:
        inside[start:end] = True
    kept = modality.kept(places, torch.zeros(1, 300))
    assert kept.shape == (1, modality.shape[1])
    assert kept.any()
    assert not kept.all()
    wave = torch.randn(1, 400)
    before, after = (modality.unpack(w) for w in (wave, torch.where(inside, wave, torch.randn(1, 400))))
    assert torch.equal((before == after).all(0), kept[0])


@pytest.mark.parametrize("places", ["x", "0.5", "1-0.5", "0--1", "0.1-0.1", ","])
def test_places_that_are_none(places):
    with pytest.raises(UserError, match="expected seconds FROM-TO"):
        Audio().kept(places, torch.zeros(1, 100))
