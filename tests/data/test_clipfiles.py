import io
import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmdiff.data import clipfiles, cliptags
from mmdiff.data.clipfiles import SUFFIXES, encoded, read_provenance, write
from mmdiff.data.clips import decoded
from mmdiff.data.cliptags import ClipSize
from mmdiff.errors import UserError
from tests.data import clipzoo as zoo

RATES = [Fraction(n) for n in (12, 24, 25, 30)] + [Fraction(n, 1001) for n in (24000, 30000, 60000)]
JSON = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers()),
    max_size=4,
)
# Corners of the cube, greys, and colours in between: what rounding to 8 bits of YUV moves most is among them
FLAT = [(r, g, b) for r in (0, 100, 255) for g in (0, 155, 255) for b in (0, 128, 255)] + [*zoo.COLOURS]


def clip(count: int = 6, width: int = 32, height: int = 24) -> torch.Tensor:
    return torch.from_numpy(zoo.numbered(count, width, height))


def by_ffmpeg(data: bytes) -> tuple[av.container.InputContainer, list[av.VideoFrame]]:
    container = av.open(io.BytesIO(data))
    return container, list(container.decode(video=0))


def by_hand(frame: av.VideoFrame) -> np.ndarray:
    """The middle of a 4:2:0 frame as RGB, by the formulas of ITU-R BT.709 and nothing of libswscale."""
    y, u, v = (
        float(plane[plane.shape[0] // 2, plane.shape[1] // 2])
        for plane in (
            np.frombuffer(part, np.uint8).reshape(part.height, part.line_size)[:, : part.width]
            for part in frame.planes
        )
    )
    luma, blue, red = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - 0.2126) * red, luma + 2 * (1 - 0.0722) * blue
    g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152
    return np.clip(np.round(255 * np.array([r, g, b])), 0, 255)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_an_mp4_is_exact_to_the_tick(fps, count):
    container, frames = by_ffmpeg(encoded(clip(count), fps))
    stream = container.streams.video[0]
    assert [frame.pts * frame.time_base for frame in frames] == [number / fps for number in range(count)]
    assert stream.duration * stream.time_base == count / fps
    assert stream.average_rate == fps
    assert stream.frames == count
    assert abs(Fraction(container.duration, av.time_base) - count / fps) <= Fraction(1, av.time_base)


@pytest.mark.parametrize("fps", RATES)
def test_every_header_of_an_mp4_has_the_exact_duration(fps):
    """ISO 14496-12: of the film (8.2.2), of the track (8.3.2) and of its media (8.4.2), all of version 0."""
    data = encoded(clip(7), fps)

    def numbers(box: bytes, at: int, count: int) -> tuple[int, ...]:
        start = data.index(box) + 4 + at
        return struct.unpack(f">{count}I", data[start : start + 4 * count])

    (scale, film), (track,), (media_scale, media) = (
        numbers(b"mvhd", 12, 2),
        numbers(b"tkhd", 20, 1),
        numbers(b"mdhd", 12, 2),
    )
    assert Fraction(film, scale) == Fraction(track, scale) == Fraction(media, media_scale) == 7 / fps


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("count", [1, 7, 30])
def test_a_webm_is_exact_to_its_tick(fps, count):
    container, frames = by_ffmpeg(encoded(clip(count), fps, ".webm"))
    for number, frame in enumerate(frames):
        assert abs(frame.pts * frame.time_base - number / fps) <= Fraction(1, 2000)
    assert len(frames) == count
    assert abs(Fraction(container.duration, av.time_base) - count / fps) <= Fraction(1, 1000)
    # The file holds a frame's nanoseconds, of which FFmpeg makes a fraction
    assert container.streams.video[0].average_rate == pytest.approx(float(fps), rel=1e-7)


@pytest.mark.parametrize("fps", [*RATES, Fraction(7), Fraction(1, 3), Fraction(50)])
@pytest.mark.parametrize("count", [1, 7, 48, 97])
def test_a_gif_does_not_drift(fps, count):
    """Read by Pillow and, with another parser, by FFmpeg."""
    data = encoded(clip(count, 4, 4), fps, ".gif")
    with Image.open(io.BytesIO(data)) as picture:
        delays = []
        for number in range(picture.n_frames):
            picture.seek(number)
            delays.append(picture.info["duration"])
        assert picture.info.get("loop") == 0 or picture.n_frames == 1
    assert min(delays) >= 20
    assert abs(sum(delays) - 1000 * count / fps) <= 10
    starts = np.cumsum([0, *delays[:-1]])
    if fps <= 50:
        assert np.abs(starts - np.array([float(1000 * n / fps) for n in range(count)])).max() <= 5
    _, frames = by_ffmpeg(data)
    assert [float(1000 * frame.pts * frame.time_base) for frame in frames] == starts.tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_holds_the_same_bytes_whatever_its_name(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    for name in ("plain", "file:name", "50%d", "a b'c"):
        write(clip(3, 7, 5), Fraction(8), name + suffix, {"seed": 1})
        assert Path(name + suffix).read_bytes() == encoded(clip(3, 7, 5), Fraction(8), suffix, {"seed": 1})
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fps", RATES)
def test_our_reader_finds_rate_and_frames_again(suffix, fps):
    again = decoded(encoded(clip(10), fps, suffix), "x", fps)
    assert again.facts.fps == fps
    assert len(again.frames) == 10
    if suffix != ".gif" or fps <= 50:
        assert zoo.levels(again.frames) == zoo.levels(clip(10).numpy())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_that_do_not_change_last_as_long(suffix):
    still = torch.full((24, 16, 16, 3), 90, dtype=torch.uint8)
    again = decoded(encoded(still, Fraction(24), suffix), "x", Fraction(24))
    assert again.frames.shape == (24, 16, 16, 3)
    assert abs(again.facts.seconds - 1) <= Fraction(1, 1000)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("colour", FLAT)
def test_flat_colours_survive(suffix, colour):
    flat = torch.tensor(colour, dtype=torch.uint8).expand(3, 32, 32, 3)
    data = encoded(flat, Fraction(24), suffix)
    assert np.abs(decoded(data, "x").frames.astype(int) - colour).max() <= 2
    for frame in by_ffmpeg(data)[1]:
        assert np.abs(by_hand(frame) - colour).max() <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_patches_of_colour_survive_beside_each_other(suffix):
    board = torch.tensor(FLAT[:27], dtype=torch.uint8).reshape(3, 9, 3)
    frames = board.repeat_interleave(32, 0).repeat_interleave(32, 1).expand(4, -1, -1, -1)
    again = decoded(encoded(frames, Fraction(24), suffix), "x").frames
    errors = np.abs(again.astype(int) - frames.numpy())
    assert errors[:, 16::32, 16::32].max() <= 2


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_colours_and_format_are_told_to_other_programs(suffix):
    container, frames = by_ffmpeg(encoded(clip(), Fraction(24), suffix))
    codec = container.streams.video[0].codec_context
    assert (codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range) == (1, 1, 1, 1)
    assert codec.pix_fmt == "yuv420p"
    assert codec.name == {".mp4": "h264", ".webm": "vp9"}[suffix]
    assert container.streams.video[0].sample_aspect_ratio in (None, 1)
    assert frames[0].color_range == 1


def test_a_gif_of_few_colours_is_exact():
    frames = torch.from_numpy(zoo.movie())
    np.testing.assert_array_equal(decoded(encoded(frames, Fraction(25), ".gif"), "x").frames, frames.numpy())


def test_an_mp4_starts_with_its_index():
    kinds = zoo.boxes(encoded(clip(), Fraction(24)))
    assert kinds.index(b"moov") < kinds.index(b"mdat")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [(33, 31), (1, 1), (2, 1), (1, 9), (16, 17), (18, 16)])
def test_any_size_is_read_back(suffix, size):
    frames = clip(3, *size)
    again = decoded(encoded(frames, Fraction(24), suffix, {"seed": 1}), "x")
    assert again.frames.shape == tuple(frames.shape)
    assert (again.facts.width, again.facts.height) == size
    assert np.abs(again.frames.astype(int) - frames.numpy()).max() <= 2


def test_an_mp4_of_odd_size_repeats_its_edge():
    frames = torch.zeros(2, 31, 33, 3, dtype=torch.uint8)
    frames[:, 24:], frames[:, :, 24:] = 200, 200
    container, pictures = by_ffmpeg(encoded(frames, Fraction(24)))
    stored = pictures[0].to_ndarray(format="gray")
    assert stored.shape == (32, 34)
    assert np.abs(stored[-1, :-1].astype(int) - stored[-2, :-1]).max() <= 4
    assert stored[-1, 0] > 150
    assert json.loads(container.metadata["comment"]) == "33x31x2@24"


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(provenance=JSON)
@settings(max_examples=20)
def test_provenance_is_read_back_from_every_kind(tmp_path_factory, suffix, provenance):
    path = tmp_path_factory.mktemp("out") / f"a{suffix}"
    write(clip(2, 5, 5), Fraction(24), path, provenance)
    assert read_provenance(path) == read_provenance(path.read_bytes()) == provenance
    assert decoded(path.read_bytes(), "x").frames.shape == (2, 5, 5, 3)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_long_provenance_and_clips_without(suffix):
    provenance = {"prompt": "ein rotes Herz \u2764\ufe0f" * 5000}
    assert read_provenance(encoded(clip(), Fraction(24), suffix, provenance)) == provenance
    assert read_provenance(encoded(clip(), Fraction(24), suffix)) is None


def test_the_provenance_is_plain_for_other_programs():
    for suffix in (".mp4", ".webm"):
        container, _ = by_ffmpeg(encoded(clip(), Fraction(24), suffix, {"seed": 7}))
        (comment,) = [text for key, text in container.metadata.items() if key.lower() == "comment"]
        assert json.loads(comment)["seed"] == 7
    with Image.open(io.BytesIO(encoded(clip(), Fraction(24), ".gif", {"seed": 7}))) as picture:
        assert json.loads(picture.info["comment"])["seed"] == 7


@pytest.mark.parametrize("comment", ["holiday [1]", "[1, 2]", "7", "[" * 100_000, '"9x9"'])
def test_comments_of_others_are_no_provenance(comment):
    assert cliptags.told(comment) == (None, None)


@given(
    st.builds(
        ClipSize,
        *[st.integers(1, 10**9 - 1)] * 3,
        st.fractions(min_value=Fraction(1, 10**6), max_value=10**6, max_denominator=10**6).filter(bool),
    )
)
def test_sizes_are_read_as_they_are_written(size):
    assert cliptags.size_of(str(size)) == size
    assert cliptags.told(cliptags.comment(size, {"a": 1})) == (size, {"a": 1})
    assert cliptags.told(cliptags.comment(size, None)) == (size, None)


@pytest.mark.parametrize(
    "text", ["", "32x32", "32x32x0@8", "32x32x4@0", "32x32x4@1/0", "32x32x4@-8", "1x1x1@" + "9" * 99]
)
def test_what_is_no_size(text):
    assert cliptags.size_of(text) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_clip_gives_the_same_bytes(suffix):
    noise = torch.randint(0, 256, (9, 37, 41, 3), dtype=torch.uint8)
    made = [encoded(noise.clone(), Fraction(24000, 1001), suffix, {"b": 1, "a": 2}) for _ in range(3)]
    assert made[0] == made[1] == made[2]
    assert encoded(noise, Fraction(24000, 1001), suffix, {"a": 2, "b": 1}) == made[0]


def test_a_sequence_is_a_folder_of_exact_pictures(tmp_path):
    frames = torch.randint(0, 256, (12, 7, 9, 3), dtype=torch.uint8)
    folder, provenance = tmp_path / "clip", {"prompt": "\u7ea2", "seed": 7}
    write(frames, Fraction(24), folder, provenance)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{number:05}.png" for number in range(12)]
    for frame, name in zip(frames, names, strict=True):
        with Image.open(folder / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), frame.numpy())
            assert picture.text["mmdiff clip"] == "9x7x12@24"
        assert read_provenance(folder / name) == provenance
    assert read_provenance(folder) == provenance
    write(frames[:3], Fraction(24), folder)
    assert len(list(folder.iterdir())) == 3
    assert read_provenance(folder) is None
    assert list(tmp_path.iterdir()) == [folder]


def test_a_sequence_takes_no_folder_of_something_else(tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"clip: holds thesis\.tex"):
        write(clip(), Fraction(24), tmp_path / "clip")
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


@pytest.mark.parametrize("name", ["a.mp4", "a"])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, name):
    path = tmp_path / name
    write(clip(), Fraction(24), path, {"seed": 1})
    monkeypatch.setattr(clipfiles.files, "sync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(clip(), Fraction(25), path, {"seed": 2})
    assert read_provenance(path) == {"seed": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "fps", "message"),
    [
        (".wmv", Fraction(24), r"'\.wmv'; expected one of \.mp4, \.webm, \.gif"),
        (".mp4", Fraction(0), "got 0 frames a second"),
        (".mp4", Fraction(2000), "got 2000 frames a second"),
        (".gif", Fraction(2**40 + 1, 2**40), "expected a plain rate"),
    ],
)
def test_what_a_format_cannot_hold_is_told(suffix, fps, message):
    with pytest.raises(UserError, match=message):
        encoded(clip(), fps, suffix)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 0, 4, 3)])
def test_nothing_is_no_clip(shape):
    with pytest.raises(ValueError, match="no pixels"):
        encoded(torch.zeros(shape, dtype=torch.uint8), Fraction(24))


def test_wrong_files_are_told_by_name(tmp_path):
    (tmp_path / "a.mp4").write_text("no clip")
    for path in (tmp_path / "a.mp4", tmp_path / "gone.mp4", tmp_path):
        with pytest.raises(UserError, match=path.name):
            read_provenance(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_clip_gives_the_same_bytes_wherever_its_memory_lies(suffix):
    """Chosen by processor, x264's code depended on that now and then, most often for frames this small."""
    generator, held = torch.Generator().manual_seed(0), []
    for count in (3, 5, 8, 16) * 4:
        noise = torch.randint(0, 256, (count, 8, 8, 3), generator=generator, dtype=torch.uint8)
        first = encoded(noise, Fraction(8), suffix)
        for room in torch.randint(1, 200_000, (8,), generator=generator).tolist():
            held.append(bytes(room))
            assert encoded(noise, Fraction(8), suffix) == first
