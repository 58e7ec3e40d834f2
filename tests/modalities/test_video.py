"""Clips as a modality: files, windows, x0 and back."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.commands import inspect
from mmdiff.data.clips import decoded
from mmdiff.data.library import Media
from mmdiff.errors import UserError
from mmdiff.modalities import MODALITIES, BadFile, Modality, Sample, Video, modality_of
from mmdiff.recipe import Data, Recipe, Training
from tests.data import clipzoo as zoo

SIZES = st.integers(1, 9)
NTSC = Fraction(30000, 1001)


FILES = [kind for kind in Video.formats if kind != "frames"]  # that is a folder


def clip(modality: Video, frames: int | None = None, seed: int = 0) -> Sample:
    shape = frames or modality.frames, modality.height, modality.width, 3
    value = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return Sample(torch.from_numpy(value), fps=modality.fps)


def of(**data) -> Video:
    made = modality_of(Recipe(modality="video", data=Data(**data), training=Training(steps=1)))
    assert isinstance(made, Video)
    return made


def test_it_is_what_the_others_ask_for():
    modality = Video()
    assert isinstance(modality, Modality)
    assert isinstance(modality, Media)
    assert MODALITIES["video"] is Video
    assert modality.sized(modality.size) == modality
    assert modality.suffix.removeprefix(".") in modality.formats
    assert {f".{kind}" for kind in FILES} <= modality.suffixes


@given(SIZES, SIZES, SIZES, st.integers(0, 9))
def test_a_clip_of_the_right_size_survives_exactly(width, height, frames, seed):
    modality = Video(width, height, frames)
    sample = clip(modality, seed=seed)
    x0 = modality.encode(sample)
    assert x0.shape == modality.shape == (3, frames, height, width)
    assert x0.dtype == torch.float32
    assert x0.abs().max() <= 1
    made = modality.decode(x0)
    assert torch.equal(made.value, sample.value)
    assert made.fps == modality.fps


def test_decoding_clamps_and_rounds():
    x0 = torch.tensor([-7.0, -1.0, 0.004, 1.0, 9.0]).expand(3, 2, 1, 5)
    assert Video(5, 1, 2).decode(x0).value[1, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_is_no_clip(wrong):
    x0 = torch.zeros(3, 2, 4, 4)
    x0[1, 1, 2, 3] = wrong
    with pytest.raises(ValueError, match="not finite"):
        Video(4, 4, 2).decode(x0)


@given(st.integers(4, 20), st.floats(0, 1, exclude_max=True))
def test_windows_of_long_clips_lie_inside_and_reach_every_place(length, place):
    modality = Video(2, 2, 4)
    packed = torch.arange(length, dtype=torch.uint8)[None, :, None, None].expand(3, -1, 2, 2)
    window, valid = modality.window(packed, place)
    assert valid is None
    assert window.shape == (3, 4, 2, 2)
    assert window[0, :, 0, 0].tolist() == list(
        range(int(place * (length - 3)), int(place * (length - 3)) + 4)
    )
    assert int(modality.window(packed, math.nextafter(1, 0))[0][0, -1, 0, 0]) == length - 1


@given(st.integers(2, 5))
def test_a_short_clip_ends_in_padding_that_is_marked(length):
    modality = Video(3, 2, 6)
    packed = modality.pack(clip(modality, length))
    window, valid = modality.window(packed, 0.7)
    assert window.shape == modality.shape
    assert torch.equal(window[:, :length], packed)
    assert (window[:, length:] == packed[:, -1:]).all()
    assert valid.shape == (1, 6, 2, 3)
    assert valid.dtype == torch.float32
    assert valid[0, :, 0, 0].tolist() == [1.0] * length + [0.0] * (6 - length)
    assert (valid == valid[:, :, :1, :1]).all()


def test_a_picture_is_shown_as_often_as_a_clip_has_frames():
    modality = Video(3, 2, 6)
    packed = modality.pack(clip(modality, 1))
    window, valid = modality.window(packed, 0.7)
    assert window.shape == modality.shape
    assert (window == packed).all()
    assert valid is None
    assert not modality.moves(packed)
    assert modality.moves(modality.pack(clip(modality, 2)))
    assert Video(3, 2, 1).moves(packed)


@given(SIZES, SIZES, st.integers(0, 255))
def test_a_flat_clip_stays_flat_at_any_size_and_rate(width, height, grey):
    sample = Sample(torch.full((12, 5, 7, 3), grey, dtype=torch.uint8), fps=Fraction(24))
    packed = Video(width, height, 4, Fraction(8)).pack(sample)
    assert packed.shape == (3, 4, height, width)
    assert (packed == grey).all()


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(8), NTSC])
@pytest.mark.parametrize("kind", FILES)
def test_files_have_the_frames_the_rate_and_their_provenance(tmp_path, kind, fps):
    modality, told = Video(33, 31, 9, fps), {"prompt": "\u7ea2", "seed": 7}
    sample = Sample(torch.from_numpy(zoo.numbered(9, 33, 31)), fps=fps)
    modality.write(sample, tmp_path / f"a.{kind}", told)
    data = (tmp_path / f"a.{kind}").read_bytes()
    again = modality.read(data, "a")
    assert again.value.shape == (9, 31, 33, 3)
    assert again.fps == fps
    assert (again.value.int() - sample.value).abs().max() <= 2
    rounded = {name: modality.facts(again)[name] for name in ("seconds", "motion")}  # by codecs
    assert modality.facts(again) == {**modality.facts(sample), **rounded}
    assert abs(modality.facts(again)["seconds"] - 9 / fps) <= 0.01
    assert modality.read_provenance(data) == told == Video.read_provenance(tmp_path / f"a.{kind}")
    assert modality.to_bytes(modality.decode(modality.encode(sample)), f".{kind}", told) == data


@pytest.mark.parametrize("kind", FILES)
def test_inspect_finds_the_provenance_of_a_clip(tmp_path, kind):
    modality = Video(4, 4, 3)
    modality.write(clip(modality), tmp_path / f"a.{kind}", {"seed": 7})
    modality.write(clip(modality), tmp_path / "b", {"seed": 8})
    assert inspect.provenance(tmp_path / f"a.{kind}") == {"seed": 7}
    assert inspect.provenance(tmp_path / "b" / "00002.png") == {"seed": 8}


def test_a_stream_gets_an_mp4_and_a_bare_name_a_folder(tmp_path):
    modality = Video(4, 4, 3)
    with (tmp_path / "a.bin").open("wb") as file:
        modality.write(clip(modality), file)
    assert len(modality.read((tmp_path / "a.bin").read_bytes(), "a").value) == 3
    modality.write(clip(modality), tmp_path / "b", {"seed": 1})
    assert len(list((tmp_path / "b").iterdir())) == 3
    assert Video.read_provenance(tmp_path / "b") == {"seed": 1}


def test_reading_reduces_and_tells_what_there_was():
    modality = Video(16, 8, 4, Fraction(8))
    data = zoo.filmed(zoo.movie(24, 64, 48), 24)
    sample = modality.read(data, "a")
    assert sample.value.shape == (8, 8, 16, 3)
    facts = modality.facts(sample)
    assert facts.pop("motion") > 0
    assert facts == {"width": 64, "height": 48, "frames": 24, "fps": "24", "seconds": 1.0}
    assert json.dumps(facts)
    whole = Sample(torch.from_numpy(decoded(data, "a").frames), fps=Fraction(24))
    assert torch.equal(modality.pack(sample), modality.pack(whole))


@pytest.mark.parametrize(("side", "pixels"), [(32, 1), (32, 3), (96, 3), (96, 9)])
@pytest.mark.parametrize("fps", [8, 24])
def test_the_motion_of_a_clip_is_how_far_its_pixels_go_in_a_second(side, pixels, fps):
    noise = np.random.default_rng(0).uniform(0, 255, (3, side // 8, side // 8 + 8)).astype(np.float32)
    wide = torch.nn.functional.interpolate(torch.from_numpy(noise)[None], scale_factor=8, mode="bicubic")[0]
    wide = wide.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0)
    frames = torch.stack([wide[:, 60 - pixels * i : 60 - pixels * i + side] for i in range(6)])
    moving = Video(side, side).facts(Sample(frames, fps=Fraction(fps)))["motion"]
    assert moving == pytest.approx(pixels * fps / side, rel=0.1)
    still = frames[:1].expand(6, -1, -1, -1).contiguous()
    assert Video(side, side).facts(Sample(still, fps=Fraction(fps)))["motion"] == 0
    assert Video(side, side).facts(Sample(frames[:1])) == {"width": side, "height": side, "frames": 1}
    slow = frames.repeat_interleave(2, 0)  # of half the rate: every second pair is of one frame
    slowly = Video(side, side).facts(Sample(slow, fps=Fraction(fps)))["motion"]
    assert slowly == pytest.approx(5 / 11 * pixels * fps / side, rel=0.1)


def test_what_cannot_be_read_is_said():
    with pytest.raises(BadFile, match="film"):
        Video().read(b"no clip", "film")
    with pytest.raises(UserError, match="cannot be read as a clip"):
        Video.read_provenance(b"no clip")
    with pytest.raises(UserError, match=r"cannot write clips as '\.wav'"):
        Video().to_bytes(clip(Video(4, 4, 2)), ".wav")


def test_the_preview_shows_all_frames_in_order():
    frames = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 4, 4, 3)
    sheet = np.asarray(Video(4, 4, 5).preview(Sample(frames)))
    assert sheet.shape == (8, 12, 3)
    assert sheet[::4, ::4, 0].tolist() == [[0, 1, 2], [3, 4, 255]]
    assert Video().preview(Sample(frames[:1])).size == (4, 4)


@given(SIZES, SIZES, SIZES, st.sampled_from([Fraction(8), NTSC, Fraction(25, 2)]))
def test_sizes_are_written_as_they_are_read(width, height, frames, fps):
    modality = Video(width, height, frames, fps)
    assert Video().sized(modality.size) == modality
    assert Video().sized("32x24x16@12.5") == Video(32, 24, 16, Fraction(25, 2))


@pytest.mark.parametrize(
    "size", ["32x32", "1.5s", "32x32x16", "0x4x4@8", "4x4x4@0", "4x4x4@8fps", "4x4x4@2000"]
)
def test_what_is_no_size_is_refused(size):
    with pytest.raises(UserError, match="expected"):
        Video().sized(size)


def test_a_recipe_names_size_length_and_rate():
    assert of() == Video()
    assert of(size="48x24", frames=12, fps="24000/1001") == Video(48, 24, 12, Fraction(24000, 1001))
    with pytest.raises(UserError, match=r"data\.fps: got 2000"):
        of(fps="2000")
    with pytest.raises(UserError, match="0x4x1"):
        Video(0, 4, 1)
    assert Video().seconds_per_position == 1 / 8


@pytest.mark.parametrize(
    ("places", "frames"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("0", [0]),
        ("0-2,5", [0, 1, 2, 5]),
        ("4-", [4, 5]),
        ("9", []),
        ("-0", [1, 2, 3, 4, 5]),
        ("-1-3, 5", [0, 4]),
    ],
)
def test_frames_that_are_kept(places, frames):
    modality = Video(3, 2, 6)
    mask = modality.kept(places, modality.pack(clip(modality)))
    assert mask.shape == (1, 6, 2, 3)
    assert mask.dtype == torch.bool
    assert [number for number in range(6) if mask[0, number].all()] == frames
    assert [number for number in range(6) if mask[0, number].any()] == frames


def test_boxes_that_are_kept():
    modality = Video(8, 6, 3)
    packed = modality.pack(clip(modality))
    mask = modality.kept("3x2+1+4", packed)
    assert int(mask.sum()) == 18
    assert bool(mask[0, :, 4:6, 1:4].all())
    assert torch.equal(modality.kept("-3x2+1+4", packed), ~mask)
    both = modality.kept("0,3x2+1+4", packed)
    assert bool(both[0, 0].all())
    assert torch.equal(both[0, 1:], mask[0, 1:])


def test_nothing_is_kept_behind_the_end_of_a_clip():
    modality = Video(3, 2, 6)
    packed = modality.pack(clip(modality, 4))
    for places, frames in (("", 4), ("2-", 2), ("-0", 3), ("5", 0)):
        assert int(modality.kept(places, packed)[0, :, 0, 0].sum()) == frames
    assert int(modality.kept("", modality.pack(clip(modality, 9)))[0, :, 0, 0].sum()) == 6


@pytest.mark.parametrize("places", ["x", "-", "0,", "3-1", "2x2", "0-0.5"])
def test_places_that_cannot_be_read_are_told(places):
    modality = Video(3, 2, 6)
    with pytest.raises(UserError, match=r"places .*expected frames such as"):
        modality.kept(places, modality.pack(clip(modality)))
