import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.data import sounds
from mmdiff.data.badfile import BadFile
from mmdiff.data.sounds import decoded
from tests.data import soundzoo as zoo
from tests.data.damage import refused, wounded

WHOLE = zoo.whole()
BROKEN = zoo.broken()
EXACT = ["wav", "wavex", "rf64", "w64", "aiff", "au", "caf", "flac", "alac.m4a", "flac.mka", "streamed.mka"]


def snr(wanted: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10((wanted**2).sum() / max(((wanted - got) ** 2).sum(), 1e-30)))


@pytest.mark.parametrize("name", WHOLE)
def test_every_format_gives_the_sound_at_its_own_length(name):
    sound = decoded(WHOLE[name], name)
    assert sound.wave.dtype == np.float32
    # Fragments do not say where in its last block of 1024 samples the sound ends
    assert sound.wave.shape == (1, 8192 if name == "fragments.m4a" else 8000)
    assert sound.sample_rate == (48_000 if name == "opus.webm" else zoo.RATE)
    # Codecs are lossy, and some turn the phase of the noise; the tone must be there, in place
    assert np.abs(sound.wave).max() == pytest.approx(0.75, abs=0.2)
    assert snr(zoo.tone() + zoo.noise(), sound.wave[:, :8000]) > (-4 if "opus" in name else 8)


@pytest.mark.parametrize("name", EXACT)
def test_integers_are_read_exactly(name):
    expected = np.round((zoo.tone() + zoo.noise()) * 32768) / 32768
    assert np.abs(decoded(WHOLE[name], name).wave - expected).max() <= 1.01 / 32768


@pytest.mark.parametrize("name", WHOLE)
def test_the_content_counts_and_not_the_extension(name):
    np.testing.assert_array_equal(decoded(WHOLE[name], "x.png").wave, decoded(WHOLE[name], name).wave)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_any_depth_is_scaled(subtype):
    wave = decoded(zoo.saved(zoo.tone(), "WAV", subtype), "x").wave
    assert snr(zoo.tone(), wave) > (30 if subtype in {"PCM_U8", "ULAW"} else 80)


def test_silence_of_8_bits_is_zero():
    assert not decoded(zoo.wav(bytes([128]) * 50, bits=8), "x").wave.any()


def test_loud_floats_are_kept():
    loud = 8 * zoo.tone()
    np.testing.assert_array_equal(decoded(zoo.saved(loud, "WAV", "FLOAT"), "x").wave, loud)


@pytest.mark.parametrize("samples", [1, 2, 7])
@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 11_127), (6, 44_100), (1, 1), (1, 192_000)])
def test_any_length_rate_and_channel_count(samples, channels, rate):
    for kind in ("WAV", "FLAC"):
        wave, got = decoded(zoo.saved(zoo.noise(samples, channels), kind, "PCM_24", rate), "x")
        assert got == rate
        np.testing.assert_allclose(wave, zoo.noise(samples, channels), atol=2**-23)


def test_stereo_from_ffmpeg_keeps_its_channels_apart():
    both = np.concatenate([zoo.tone(), zoo.tone(hertz=660.0)])
    wave = decoded(zoo.muxed(both, "ipod", "alac"), "x").wave
    assert snr(both, wave) > 80


def test_a_comment_before_the_samples_is_passed_over():
    note = b"LIST\x16\0\0\0INFOICMT\x0a\0\0\0a comment\0"
    plain = decoded(zoo.wav(zoo.integers(zoo.tone())), "x").wave
    np.testing.assert_array_equal(decoded(zoo.wav(zoo.integers(zoo.tone()), before=note), "x").wave, plain)


def test_a_flac_from_a_pipe_is_whole():
    np.testing.assert_array_equal(
        decoded(zoo.claiming(0), "x").wave, decoded(zoo.saved(zoo.noise(), "FLAC"), "x").wave
    )


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name_with_a_short_reason(name):
    refused(decoded, BROKEN[name], name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.wav", "empty file"),
        ("page.wav", "not sound"),
        ("playlist.m4a", "not sound"),
        ("promises_more.wav", "cut off"),
        ("cut wav", "cut off"),
        ("cut vorbis.ogg", "cut off"),
        ("cut fragments.m4a", "cut off"),
        ("no_samples.wav", "no samples"),
        ("nan.wav", "not finite"),
        ("inf.au", "not finite"),
        ("video.mp4", "no sound in it"),
    ],
)
def test_the_reason_is_the_right_one(name, reason):
    with pytest.raises(BadFile, match=reason):
        decoded(BROKEN[name], name)


def test_an_absurd_length_is_refused_before_decoding():
    with pytest.raises(BadFile, match="claims 68719476735 values"):
        decoded(zoo.claiming(2**36 - 1), "x")


def test_what_grows_beyond_the_limit_is_refused_while_decoding(monkeypatch):
    """FFmpeg cannot tell how long a piped FLAC is."""
    monkeypatch.setattr(sounds, "MOST_VALUES", 5000)
    with pytest.raises(BadFile, match="holds more than 5000"):
        decoded(zoo.claiming(0), "x")


def test_an_absurd_rate_is_refused():
    data = bytearray(zoo.wav(zoo.integers(zoo.tone())))
    data[24:28] = (2_000_000).to_bytes(4, "little")
    with pytest.raises(BadFile, match="claims 2000000 samples a second"):
        decoded(bytes(data), "x")


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_is_refused_unless_every_sample_is_there(name, share):
    data = WHOLE[name]
    if "streamed" in name or "pipe" in name:
        return
    try:
        wave = decoded(data[: int(share * len(data))], name).wave
    except BadFile:
        return
    assert snr(decoded(data, name).wave, wave) > 90


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 2**20), st.binary(max_size=9)), max_size=5),
)
def test_no_damage_does_anything_but_refuse(name, wounds):
    with warnings.catch_warnings(record=True) as caught:
        try:
            wave = decoded(wounded(WHOLE[name], wounds), name).wave
        except BadFile:
            wave = zoo.tone()
    assert not caught
    assert np.isfinite(wave).all()
    assert wave.ndim == 2


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"OggS", b"ID3\3", b"\x1a\x45\xdf\xa3"]),
)
def test_no_bytes_crash(data, start):
    with pytest.raises(BadFile):
        decoded(start + data, "x")
