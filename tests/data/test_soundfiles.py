import io
import json

import av
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data import soundfiles
from mmdiff.data.soundfiles import FORMATS, encoded, read_provenance, write
from mmdiff.data.sounds import decoded
from mmdiff.errors import UserError
from tests.data import soundzoo as zoo

KINDS = [(suffix, subtype) for suffix, kind in FORMATS.items() for subtype in kind.subtypes]
JSON = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers()),
    max_size=4,
)


def wave(channels: int = 1, samples: int = 8000) -> torch.Tensor:
    return torch.from_numpy(zoo.noise(samples, channels))


def by_ffmpeg(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        to_float = av.AudioResampler(format="fltp")
        pieces = [piece for frame in container.decode(audio=0) for piece in to_float.resample(frame)]
    return np.concatenate([piece.to_ndarray() for piece in pieces], 1)


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
@given(samples=st.integers(1, 5000), channels=st.integers(1, 2), rate=st.sampled_from([8000, 22_050, 48_000]))
def test_the_length_is_exact_to_the_sample(suffix, subtype, samples, channels, rate):
    sound = decoded(encoded(wave(channels, samples), rate, suffix, subtype), "x")
    assert sound.wave.shape == (channels, samples)
    assert sound.sample_rate == rate


@pytest.mark.parametrize(("suffix", "subtype"), KINDS)
def test_another_library_reads_the_same(suffix, subtype):
    sound = zoo.tone(40_000) + zoo.noise(40_000) / 10
    data = encoded(torch.from_numpy(sound), zoo.RATE, suffix, subtype)
    other = by_ffmpeg(data)
    assert other.shape == (1, 40_000)
    assert np.abs(other - decoded(data, "x").wave).max() < 1e-4
    assert np.abs(other - sound).max() < 0.05


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50))
def test_16_bit_samples_survive_exactly(values):
    samples = torch.tensor([values]).float() / 2**15
    for suffix in (".wav", ".flac"):
        assert torch.equal(torch.from_numpy(decoded(encoded(samples, 8000, suffix), "x").wave), samples)


@given(st.lists(st.integers(-(2**23), 2**23 - 1), min_size=1, max_size=50))
def test_24_bit_samples_survive_exactly(values):
    samples = torch.tensor([values]).float() / 2**23
    for suffix in (".wav", ".flac"):
        data = encoded(samples, 8000, suffix, "PCM_24")
        assert torch.equal(torch.from_numpy(decoded(data, "x").wave), samples)


def test_floats_survive_exactly_and_beyond_full_scale():
    loud = 30 * wave()
    assert torch.equal(torch.from_numpy(decoded(encoded(loud, 8000, ".wav", "FLOAT"), "x").wave), loud)


@given(st.floats(-1, 1, width=32))
def test_samples_are_rounded_and_not_truncated(value):
    data = encoded(torch.tensor([[value]]), 8000)
    assert abs(decoded(data, "x").wave[0, 0] - min(value, 1 - 2**-15)) <= 2**-16


@pytest.mark.parametrize(("suffix", "subtype"), [kind for kind in KINDS if kind[1] != "FLOAT"])
def test_what_is_beyond_full_scale_is_clipped_with_a_warning(suffix, subtype):
    loud = torch.full((1, 4000), 0.5)
    loud[0, 100:110], loud[0, 200:210] = 3.0, -2.0
    with pytest.warns(UserWarning, match=r"a\.x: 0\.50% of the samples lie beyond full scale"):
        data = encoded(loud, 8000, suffix, subtype, name="a.x")
    got = decoded(data, "x").wave
    assert (got[0, 104], got[0, 204]) == (pytest.approx(1, abs=0.1), pytest.approx(-1, abs=0.1))


def test_full_scale_itself_is_no_reason_to_warn():
    got = decoded(encoded(torch.tensor([[1.0, -1.0]]), 8000), "x").wave
    assert got.tolist() == [[1 - 2**-15, -1]]


@pytest.mark.parametrize("suffix", FORMATS)
def test_silence_stays_silence(suffix):
    assert np.abs(decoded(encoded(torch.zeros(2, 3000), 8000, suffix), "x").wave).max() < 1e-6


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_an_error_that_names_the_sound(tmp_path, wrong):
    spoilt = wave()
    spoilt[0, 77] = wrong
    with pytest.raises(ValueError, match=r"dog\.wav holds numbers that are not finite"):
        write(spoilt, 8000, tmp_path / "dog.wav")
    with pytest.raises(ValueError, match="the third holds"):
        encoded(spoilt, 8000, name="the third")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
@given(provenance=JSON)
def test_provenance_is_read_back_from_every_kind(tmp_path_factory, suffix, provenance):
    path = tmp_path_factory.mktemp("out") / f"a{suffix}"
    write(wave(2, 500), 8000, path, provenance=provenance)
    assert read_provenance(path) == read_provenance(path.read_bytes()) == provenance
    assert decoded(path.read_bytes(), "x").wave.shape == (2, 500)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("suffix", FORMATS)
def test_long_provenance_and_sounds_of_others(suffix):
    provenance = {"prompt": "ein rotes Herz \u2764\ufe0f" * 5000}
    assert read_provenance(encoded(wave(), 8000, suffix, provenance=provenance)) == provenance
    assert read_provenance(encoded(wave(), 8000, suffix)) is None


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_the_provenance_is_plain_for_other_programs(suffix):
    data = encoded(wave(), 8000, suffix, provenance={"seed": 7})
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert json.loads(file.comment) == {"seed": 7}


def test_comments_of_others_are_no_provenance():
    for comment in ("holiday [1]", "[1, 2]"):
        buffer = io.BytesIO()
        with soundfile.SoundFile(buffer, "w", 8000, 1, format="FLAC") as file:
            file.comment = comment
            file.write(np.zeros(9))
        assert read_provenance(buffer.getvalue()) is None


@pytest.mark.parametrize("samples", [999, 1000])
def test_a_tagged_wav_has_the_size_that_it_says(samples):
    data = encoded(wave(1, samples), 8000, provenance={"a": 1})
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert len(data) % 2 == 0


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write(wave(), 8000, path)
    before = path.read_bytes()
    monkeypatch.setattr(soundfiles.files, "sync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(wave(2), 8000, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "subtype", "channels", "rate", "message"),
    [
        (".wma", None, 1, 8000, r"'\.wma'; expected one of \.wav"),
        (".wav", "PCM_12", 1, 8000, "WAV has no subtype 'PCM_12'; expected one of PCM_16"),
        (".flac", "FLOAT", 1, 8000, "FLAC has no subtype 'FLOAT'"),
        (".flac", None, 9, 8000, "FLAC holds 1 to 8 channels, got 9"),
        (".mp3", None, 6, 8000, "MP3 holds 1 to 2 channels, got 6"),
        (".mp3", None, 1, 11_127, "MP3 holds sample rates of 8000, .* got 11127"),
        (".ogg", None, 1, 250_000, "OGG holds sample rates of 1 to 200000 Hz, got 250000"),
        (".wav", None, 1, 0, "got 0"),
    ],
)
def test_what_a_format_cannot_hold_is_told(suffix, subtype, channels, rate, message):
    with pytest.raises(UserError, match=message):
        encoded(wave(channels, 10), rate, suffix, subtype)


def test_nothing_is_no_sound():
    with pytest.raises(ValueError, match="no samples"):
        encoded(torch.zeros(1, 0), 8000)


def test_wrong_files_are_told_by_name(tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    for path in (tmp_path / "a.wav", tmp_path / "gone.wav"):
        with pytest.raises(UserError, match=path.name):
            read_provenance(path)
