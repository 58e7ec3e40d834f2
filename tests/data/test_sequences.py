"""Folders of numbered pictures: which are clips, in which order, at which rate."""

import json
import pickle
import tarfile
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from mmdiff.data import clipfiles, clips, sequences
from mmdiff.data.audit import audit
from mmdiff.data.badfile import BadFile
from mmdiff.data.library import Library
from mmdiff.data.scan import scan
from mmdiff.modalities import Video
from tests.data import clipzoo as zoo

VIDEO = Video(32, 32, 4, Fraction(8))


def save(folder, names, frames=None):
    """One numbered grey frame a name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, zoo.numbered(len(names)) if frames is None else frames, strict=True):
        Image.fromarray(frame).save(folder / name)


def test_a_folder_of_numbered_pictures_is_a_clip_in_the_order_of_the_numbers(tmp_path):
    save(tmp_path / "run" / "walk", [f"{i}.png" for i in range(1, 12)])
    (tmp_path / "run" / "walk.txt").write_text("somebody walks")
    save(tmp_path / "run" / "jump", [f"{i:04}.tif" for i in range(3)])
    (tmp_path / "run" / "jump.txt").write_text("somebody jumps")
    listing = scan(tmp_path, VIDEO.suffixes)
    assert [(e.file_name, e.columns["text"]) for e in listing.entries] == [
        ("run/jump", "somebody jumps"),
        ("run/walk", "somebody walks"),
    ]
    clip = VIDEO.read(listing.entries[1].open(), "walk")
    assert zoo.levels(clip.value.numpy()) == zoo.levels(zoo.numbered(11))
    assert clip.fps == Fraction(8)
    assert (clip.file["fps"], clip.file["frames"]) == ("8", 11)


def test_metadata_names_the_folder_also_in_an_archive(tmp_path):
    save(tmp_path / "data" / "walk", [f"{i:05}.png" for i in range(5)])
    row = {"file_name": "walk", "text": "somebody walks", "speed": 3}
    (tmp_path / "data" / "metadata.jsonl").write_text(json.dumps(row))
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        archive.add(tmp_path / "data", "data")
    for path in (tmp_path / "data", tmp_path / "data.tar"):
        found = audit(path, VIDEO)
        assert not found.rejected
        assert [(u.file_name, u.entry.columns) for u in found.used] == [
            ("walk", {"text": "somebody walks", "speed": 3})
        ]
        assert Library(found.listing, VIDEO)[0][0].shape == (3, 5, 32, 32)


def test_what_is_no_sequence_stays_pictures(tmp_path):
    save(tmp_path, ["1.png", "2.png"])  # the top is never one clip
    save(tmp_path / "mixed", ["1.png", "cover.png"])
    save(tmp_path / "single", ["1.png"])
    save(tmp_path / "outer", ["1.png", "2.png"])
    save(tmp_path / "outer" / "deep" / "inner", ["1.png", "2.png"])
    names = {entry.file_name for entry in scan(tmp_path, VIDEO.suffixes).entries}
    pictures = {
        "1.png",
        "2.png",
        "mixed/1.png",
        "mixed/cover.png",
        "single/1.png",
        "outer/1.png",
        "outer/2.png",
    }
    assert names == pictures | {"outer/deep/inner"}
    every = {entry.file_name for entry in scan(tmp_path, frozenset({".png"})).entries}
    assert every == pictures | {"outer/deep/inner/1.png", "outer/deep/inner/2.png"}


def test_what_our_writer_made_keeps_its_rate(tmp_path):
    fps, frames = Fraction(24000, 1001), zoo.numbered(6)
    clipfiles.write(torch.from_numpy(frames), fps, tmp_path / "made", {"seed": 1})
    (entry,) = scan(tmp_path, VIDEO.suffixes).entries
    clip = clips.decoded(entry.open(), "made")
    assert np.array_equal(clip.frames, frames)
    assert clip.facts.fps == fps
    assert clip.facts.seconds == 6 / fps
    thinned = clips.decoded(entry.open(), "made", Fraction(8)).frames
    assert zoo.levels(thinned) == [zoo.levels(frames)[i] for i in clips.moments(6, fps, Fraction(8))]


def test_a_window_decodes_no_other_picture(tmp_path, monkeypatch):
    save(tmp_path / "long", [f"{i}.png" for i in range(20)])
    (entry,) = scan(tmp_path, VIDEO.suffixes).entries
    seen, decoded = [], sequences.pictures.decoded

    def spy(data, name):
        seen.append(name)
        return decoded(data, name)

    monkeypatch.setattr(sequences.pictures, "decoded", spy)
    frames = clips.window(entry.open(), "long", Fraction(8), Fraction(12, 8), 3)
    assert zoo.levels(frames) == zoo.levels(zoo.numbered(20))[12:15]
    assert seen == ["12.png", "13.png", "14.png"]
    assert clips.claimed(entry.open(), "long", Fraction(8)) == 20


def test_a_broken_frame_and_one_of_another_size_are_named(tmp_path):
    save(tmp_path / "broken", ["1.png", "2.png"])
    (tmp_path / "broken" / "2.png").write_bytes(b"no picture")
    save(tmp_path / "grown", ["1.png", "2.png"], [*zoo.numbered(1), *zoo.numbered(1, 40)])
    said = {r.file_name: r.reason for r in audit(tmp_path, Video(40, 32)).rejected}
    assert said == {"broken": "2.png: not a picture, or damaged at its start"}
    with pytest.raises(BadFile, match="grown: changes its size midway"):
        clips.decoded(scan(tmp_path, VIDEO.suffixes).entries[1].open(), "grown")


def test_what_metadata_names_one_by_one_is_no_clip(tmp_path):
    save(tmp_path / "cats", ["1.png", "2.png", "3.png"])
    save(tmp_path / "walk", ["1.png", "2.png"])
    rows = [{"file_name": name, "text": "said"} for name in ("cats/1.png", "cats/2.png", "walk")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    listing = scan(tmp_path, VIDEO.suffixes)
    assert [entry.file_name for entry in listing.entries] == ["cats/1.png", "cats/2.png", "walk"]
    assert [left.file_name for left in listing.left_out] == ["cats/3.png"]
    assert not listing.rejections


def test_hidden_files_dots_links_and_long_numbers_do_not_matter(tmp_path):
    save(tmp_path / "shot.1", ["1.png", "2.png"])
    save(tmp_path / "shot.2", ["1.png", "2.png"])
    for number in (1, 2):
        (tmp_path / f"shot.{number}.txt").write_text(f"number {number}")
    (tmp_path / "shot.1" / ".DS_Store").write_bytes(b"")
    (tmp_path / "shot.1" / "3.png").symlink_to("1.png")
    (tmp_path / "shot.2" / f"{'0' * 90}{'9' * 90}.png").write_bytes(
        (tmp_path / "shot.2" / "1.png").read_bytes()
    )
    listing = scan(tmp_path, VIDEO.suffixes)
    assert [(e.file_name, e.columns["text"]) for e in listing.entries] == [
        ("shot.1", "number 1"),
        ("shot.2", "number 2"),
    ]
    for entry in listing.entries:
        read = VIDEO.read(pickle.loads(pickle.dumps(entry)).open(), entry.file_name).value
        assert zoo.levels(read.numpy()) == [zoo.levels(zoo.numbered(2))[i] for i in (0, 1, 0)]
