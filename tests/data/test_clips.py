import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdiff.data import clips
from mmdiff.data.badfile import BadFile
from mmdiff.data.clips import claimed, decoded, held, moments, window
from mmdiff.data.shown import Shown
from tests.data import clipzoo as zoo
from tests.data.damage import refused, wounded

WHOLE = zoo.whole()
BROKEN = zoo.broken()
RATES = st.sampled_from([Fraction(n) for n in (1, 8, 12, 24, 25, 30, 60)] + [zoo.NTSC, Fraction(24000, 1001)])
INTRA = {"g": "1", "bf": "0"}


def near(frames: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether frames are those wanted, as a codec keeps them: six blocks and a moving bar."""
    return frames.shape == wanted.shape and float(np.abs(frames.astype(int) - wanted).mean()) < 12


@pytest.mark.parametrize("name", WHOLE)
def test_every_format_gives_every_frame_in_order(name):
    clip = decoded(WHOLE[name], name)
    assert clip.frames.dtype == np.uint8
    assert near(clip.frames, zoo.movie())
    rate = 25 if name.startswith("pillow") else 24
    assert clip.facts.fps == rate
    assert (clip.facts.width, clip.facts.height) == (48, 32)
    assert np.abs(np.array([float(t) for t in clip.facts.times]) - np.arange(12) / rate).max() <= 0.001
    assert float(clip.facts.seconds) == pytest.approx(12 / rate, abs=0.0021)


def test_lossless_frames_are_exact():
    gradient = np.random.default_rng(0).integers(0, 256, (5, 17, 21, 3), np.uint8)
    for data in (
        zoo.animated(gradient, "PNG"),
        zoo.animated(gradient, "WEBP"),
        zoo.filmed(gradient, kind="matroska", codec="ffv1", pix_fmt="bgr0"),
    ):
        np.testing.assert_array_equal(decoded(data, "x").frames, gradient)


@pytest.mark.parametrize("name", ["h264.mp4", "pillow.gif", "vp9.webm"])
def test_the_content_counts_and_not_the_extension(name):
    np.testing.assert_array_equal(decoded(WHOLE[name], "x.png").frames, decoded(WHOLE[name], name).frames)


@pytest.mark.parametrize(
    ("size", "matrix"), [((64, 48), 5), ((720, 576), 5), ((1280, 720), 1), ((64, 640), 1)]
)
def test_a_film_that_names_no_matrix_has_that_of_its_size(size, matrix):
    frames = np.broadcast_to(np.array((20, 220, 60), np.uint8), (1, *size[::-1], 3))
    data = zoo.filmed(frames, matrix=matrix, coding={"preset": "ultrafast", "qp": "4"})
    assert np.abs(decoded(data, "x").frames.astype(int) - frames).max() <= 3


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(24), zoo.NTSC, Fraction(60)])
def test_short_clips_have_their_frames_and_their_rate(count, rate):
    facts = decoded(zoo.filmed(zoo.numbered(count), rate), "x").facts
    assert (len(facts.times), facts.fps, facts.seconds) == (count, rate, count / rate)


@pytest.mark.parametrize("size", [(33, 31), (1, 1), (2, 7), (64, 48)])
def test_odd_sizes(size):
    frames = zoo.numbered(3, *size)
    data = zoo.filmed(frames, pix_fmt="yuv444p", coding={"qp": "4"})
    assert np.abs(decoded(data, "x").frames.astype(int) - frames).max() <= 3


TICKS = [0, 40, 80, 500, 540, 1000, 1500, 1520]


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_uneven_frames_keep_their_times(kind):
    data = zoo.filmed(zoo.numbered(8), kind=kind, ticks=TICKS, base=Fraction(1, 1000))
    clip = decoded(data, "x")
    assert clip.facts.times == tuple(Fraction(tick, 1000) for tick in TICKS)
    assert zoo.levels(clip.frames) == zoo.levels(zoo.numbered(8))


def test_uneven_frames_are_shown_as_a_player_would():
    data = zoo.filmed(zoo.numbered(8), ticks=TICKS, base=Fraction(1, 1000))
    clip = decoded(data, "x", Fraction(10))
    seen = [max(i for i, tick in enumerate(TICKS) if tick <= 100 * k + 25) for k in range(len(clip.frames))]
    assert zoo.levels(clip.frames) == [zoo.levels(zoo.numbered(8))[i] for i in seen]
    assert len(clip.frames) in (15, 16)
    assert len(clip.facts.times) == 8


@pytest.mark.parametrize("first", [0, 1, 7])
def test_frames_that_an_edit_list_takes_out_are_not_there(first):
    clip = decoded(zoo.trimmed(20, first), "x")
    assert zoo.levels(clip.frames) == zoo.levels(zoo.numbered(20))[first:]
    assert (clip.facts.fps, clip.facts.seconds) == (24, Fraction(20 - first, 24))


def test_times_count_from_the_first_frame():
    data = zoo.filmed(zoo.numbered(4), ticks=[100, 124, 148, 172], base=Fraction(1, 1000), kind="matroska")
    assert decoded(data, "x").facts.times[0] == 0
    assert decoded(data, "x").facts.times[-1] == Fraction(72, 1000)


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
def test_clips_come_upright(degrees, flips):
    stored = zoo.movie(3)
    across, down = flips
    shown = np.rot90(stored, degrees // 90, (1, 2))
    shown = shown[:, :: -1 if down else 1, :: -1 if across else 1]
    data = zoo.filmed(stored, turn=(degrees, across, down))
    clip = decoded(data, "x")
    assert near(clip.frames, shown)
    assert (clip.facts.height, clip.facts.width) == shown.shape[1:3]


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (96, 32)), (Fraction(1, 2), (48, 64)), (Fraction(8, 9), (48, 36))]
)
def test_pixels_come_square(aspect, size):
    clip = decoded(zoo.filmed(zoo.movie(2), aspect=aspect), "x")
    assert (clip.facts.width, clip.facts.height) == size
    assert clip.frames.shape == (2, size[1], size[0], 3)
    assert np.abs(clip.frames[0, 4, 4].astype(int) - zoo.COLOURS[0]).max() < 20


def test_a_turned_clip_is_squared_before_it_is_turned():
    clip = decoded(zoo.filmed(zoo.movie(2), aspect=Fraction(2), turn=(90, False, False)), "x")
    assert (clip.facts.width, clip.facts.height) == (32, 96)


def test_delays_that_no_browser_keeps_are_a_tenth_of_a_second():
    frames = zoo.numbered(4)
    assert decoded(zoo.animated(frames, "GIF", 10), "x").facts.seconds == Fraction(4, 10)
    assert decoded(zoo.animated(frames, "GIF", 20), "x").facts.seconds == Fraction(8, 100)
    assert decoded(zoo.animated(frames, "GIF", [70, 30, 500, 20]), "x").facts.times == (
        0,
        Fraction(7, 100),
        Fraction(10, 100),
        Fraction(60, 100),
    )


def test_animations_are_shown_on_white():
    frames = np.zeros((3, 8, 8, 4), np.uint8)
    frames[:, :4] = (200, 0, 0, 255)
    frames[1, 0] = 0
    for kind in ("WEBP", "PNG"):
        clip = decoded(zoo.animated(frames, kind), "x")
        assert clip.frames[0, 0, 0].tolist() == [200, 0, 0]
        assert clip.frames[0, 7, 7].tolist() == [255, 255, 255]
        assert clip.frames[1, 0, 0].tolist() == [255, 255, 255]


def test_the_still_of_a_png_is_no_frame():
    data = zoo.animated(zoo.numbered(4), "PNG", 100, default_image=True)
    assert zoo.levels(decoded(data, "x").frames) == zoo.levels(zoo.numbered(4))[1:]


@given(RATES, RATES, st.integers(1, 9))
@settings(max_examples=15)
def test_a_rate_becomes_another_as_moments_says(rate, other, count):
    clip = decoded(zoo.filmed(zoo.numbered(count), rate, coding=INTRA), "x", other)
    wanted = zoo.numbered(count)[moments(count, rate, other)]
    assert zoo.levels(clip.frames) == zoo.levels(wanted)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), zoo.NTSC, Fraction(60)])
def test_the_same_rate_loses_and_doubles_no_frame(kind, rate):
    codec = "libx264" if kind == "mp4" else "libvpx-vp9"
    data = zoo.filmed(zoo.numbered(20), rate, kind, codec)
    assert zoo.levels(decoded(data, "x", rate).frames) == zoo.levels(zoo.numbered(20))


def test_every_third_frame_from_24_to_8():
    assert moments(12, Fraction(24), Fraction(8)) == [0, 3, 6, 9]
    assert moments(2, Fraction(8), Fraction(24)) == [0, 0, 0, 1, 1, 1]


@given(st.integers(1, 200), RATES, RATES)
def test_moments_and_frames_on_their_way_agree(count, rate, other):
    shown = [Shown(n / rate, 1 / rate, lambda: None) for n in range(count)]
    seen = [int(one.time * rate) for one in held(shown, other)]
    assert seen == moments(count, rate, other)
    assert abs(len(seen) / other - count / rate) <= 1 / other
    assert moments(count, rate, rate) == list(range(count))


LONG = zoo.filmed(zoo.numbered(200), 24, coding={"g": "12", "bf": "2"})
ENTERED = {
    "mp4": LONG,
    "webm": zoo.filmed(zoo.numbered(200), 24, "webm", "libvpx-vp9", coding={"g": "12"}),
    "avi": zoo.filmed(zoo.numbered(200), 24, "avi", "mpeg4", coding={"g": "12"}),
    "ts": zoo.filmed(zoo.numbered(200), 24, "mpegts", coding={"g": "12", "bf": "0"}),
    "gif": zoo.animated(zoo.numbered(200), "GIF"),
}


@pytest.mark.parametrize("kind", ENTERED)
@given(start=st.integers(0, 65), count=st.integers(1, 9))
@settings(max_examples=8)
def test_a_window_is_part_of_the_whole(kind, start, count):
    fps = Fraction(8)
    part = window(ENTERED[kind], "x", fps, start / fps, count)
    np.testing.assert_array_equal(part, ALL[kind][start : start + count])


ALL = {kind: decoded(data, "x", Fraction(8)).frames for kind, data in ENTERED.items()}


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_window_is_sought_and_not_decoded_up_to(frames_decoded, kind):
    window(ENTERED[kind], "x", Fraction(24), Fraction(180, 24), 4)
    assert frames_decoded() <= 30


@pytest.mark.parametrize("kind", ["mp4", "webm", "avi"])
@pytest.mark.parametrize("fps", [8, 24, Fraction(30000, 1001)])
def test_a_film_says_how_many_frames_it_has_and_none_is_decoded(frames_decoded, kind, fps):
    said = claimed(ENTERED[kind], "x", Fraction(fps))
    assert frames_decoded() == 0
    assert said == len(decoded(ENTERED[kind], "x", Fraction(fps)).frames)


def test_an_animation_does_not_say_how_long_it_is():
    assert claimed(ENTERED["gif"], "x", Fraction(24)) is None


def test_pixels_that_were_lost_are_not_made_up():
    """Left to itself, FFmpeg paints over most of these wounds, and nobody would see before training."""
    good, dice, painted = decoded(WHOLE["mpeg2.mpg"], "x").frames, np.random.default_rng(0), 0
    for _ in range(60):
        data = bytearray(WHOLE["mpeg2.mpg"])
        at = dice.integers(len(data) // 10, len(data) - 8)
        data[at : at + 8] = dice.bytes(8)
        try:
            frames = decoded(bytes(data), "x").frames
        except BadFile:
            continue
        painted += frames.shape != good.shape or np.abs(frames.astype(int) - good).max() > 40
    assert painted <= 3


def test_a_window_behind_the_end_is_refused():
    with pytest.raises(BadFile, match="no frames"):
        window(LONG, "x", Fraction(24), Fraction(100), 4)


def test_a_long_clip_takes_the_memory_of_what_is_kept():
    data = zoo.filmed(
        np.broadcast_to(zoo.blocks(256, 256), (400, 256, 256, 3)), coding={"preset": "ultrafast"}
    )
    tracemalloc.start()
    clip = decoded(data, "x", Fraction(24), lambda picture: picture[::32, ::32].copy())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert clip.frames.shape == (400, 8, 8, 3)
    assert peak < 3_000_000  # all frames: 79 MB


def test_what_grows_beyond_the_limit_is_refused_while_decoding(monkeypatch):
    monkeypatch.setattr(clips, "MOST_BYTES", 10_000)
    with pytest.raises(BadFile, match="holds more than 10000 bytes"):
        decoded(WHOLE["h264.mp4"], "x")
    assert len(decoded(WHOLE["h264.mp4"], "x", shape=lambda picture: picture[::8, ::8]).frames) == 12


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name_with_a_short_reason(name):
    refused(decoded, BROKEN[name], name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", "empty file"),
        ("text.mp4", "not a clip"),
        ("playlist.mp4", "not a clip"),
        ("concat.mp4", "not a clip"),
        ("sound_only.mp4", "no pictures in it"),
        ("claims_more.mp4", "cut off: 10 of 24 frames are there"),
        ("cut h264.mp4", "cut off"),
        ("cut vp9.webm", "cut off"),
        ("cut mpeg4.avi", "cut off"),
        ("cut pillow.gif", "cut off"),
        ("cut pillow.webp", "cut off"),
        ("cut pillow.png", "cut off"),
        ("start.gif", "cut off"),
        ("absurd.gif", "claims more pixels than the limit"),
    ],
)
def test_the_reason_is_the_right_one(name, reason):
    with pytest.raises(BadFile, match=reason):
        decoded(BROKEN[name], name)


@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 1, exclude_max=True))
@settings(max_examples=25)
def test_a_file_that_was_cut_is_refused_unless_every_frame_is_there(name, share):
    data = WHOLE[name]
    if name.endswith((".ts", ".mpg")):
        return
    try:
        frames = decoded(data[: int(share * len(data))], name).frames
    except BadFile:
        return
    np.testing.assert_array_equal(frames, decoded(data, name).frames)


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 2**20), st.binary(max_size=9)), max_size=5),
)
def test_no_damage_does_anything_but_refuse(name, wounds):
    with warnings.catch_warnings(record=True) as caught:
        try:
            frames = decoded(
                wounded(WHOLE[name], wounds), name, Fraction(8), lambda picture: picture[:1, :1]
            ).frames
        except BadFile:
            frames = zoo.movie()
    assert not caught
    assert frames.ndim == 4


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"GIF89a",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\0\0\0\0WEBP",
            b"RIFF\xff\0\0\0AVI ",
            b"\x1a\x45\xdf\xa3",
        ]
    ),
)
def test_no_bytes_crash(data, start):
    with pytest.raises(BadFile):
        decoded(start + data, "x")
