"""The motion builder on packages made here, whose animations change their colour."""

import io
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from mmdiff.data.clips import decoded
from mmdiff.errors import UserError
from tools.data import build_motion

RED, BLUE, CLEAR, WHITE = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0), (255, 255, 255)


def animation(colours, duration=42):
    """The left half in these colours, one a frame, the right half transparent."""
    frames = []
    for colour in colours:
        frames.append(Image.new("RGBA", (256, 256), CLEAR))
        frames[-1].paste(colour, (0, 0, 128, 256))
    out = io.BytesIO()
    # Pillow makes one frame of equal ones, unless every frame is a key frame
    options = {"save_all": True, "append_images": frames[1:], "duration": duration, "kmax": 1, "kmin": 0}
    frames[0].save(out, "WEBP", lossless=True, **options)
    return out.getvalue()


TURNING = animation([RED, BLUE] * 8, [42] * 15 + [84])
CONTENTS = [
    {"assets/2764-fe0f.webp": TURNING, "assets/1f3de-1f3fb.webp": TURNING, "package.json": "{}"},
    {"assets/1f3de.webp": animation([BLUE, RED] * 8), "assets/1f1e6.webp": TURNING},
]


@pytest.fixture
def shelf(emojibase, monkeypatch, tgz):
    """A cache that holds the made packages, pinned in place of the real ones."""
    put(emojibase, monkeypatch, tgz, CONTENTS)
    return emojibase


def put(folder, monkeypatch, tgz, packages):
    pinned = [
        replace(package, sha256=tgz(folder / package.file_name, contents))
        for package, contents in zip(build_motion.ANIMATED, packages, strict=False)
    ]
    monkeypatch.setattr(build_motion, "ANIMATED", pinned)


def run(tmp_path, cache, *more):
    return build_motion.main(["--out", str(tmp_path / "motion"), "--cache", str(cache), *more])


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]


def test_folder_holds_every_clip_with_its_caption(tmp_path, shelf):
    assert run(tmp_path, shelf) == 0
    folder = tmp_path / "motion"
    rows = rows_of(folder)
    assert [(row["file_name"], row["frames"]) for row in rows] == [("1f3de.mp4", 16), ("2764.mp4", 17)]
    assert rows[1] == {
        "file_name": "2764.mp4",
        "text": "red heart",
        "tags": ["Red Heart"],
        "group": "symbols",
        "concept": "2764",
        "fps": 24,
        "frames": 17,
    }
    frames, facts = decoded((folder / "2764.mp4").read_bytes(), "2764.mp4")
    assert (facts.fps, frames.shape) == (Fraction(24), (17, 64, 64, 3))
    assert not np.abs(frames[:, 32, 56].astype(int) - WHITE).max() > 4
    # The last frame is shown for two ticks
    seen = [("red", "blue")[int(frame[32, 8, 2] > frame[32, 8, 0])] for frame in frames]
    assert seen == ["red", "blue"] * 8 + ["blue"]


def test_what_is_short_or_stands_still_is_left_out(tmp_path, emojibase, monkeypatch, tgz):
    short = {"assets/2764-fe0f.webp": animation([RED, BLUE] * 7 + [RED], 100)}
    still = {"assets/1f3de.webp": animation([(255, 0, 0, 255 - number) for number in range(16)])}
    put(emojibase, monkeypatch, tgz, [short, still])
    monkeypatch.setattr(build_motion, "on_white", lambda image, size: Image.new("RGB", (size, size)))
    assert run(tmp_path, emojibase) == 0
    assert rows_of(tmp_path / "motion") == []


def test_the_licence_warning_is_in_the_folder_in_the_help_and_printed(tmp_path, shelf, capsys):
    run(tmp_path, shelf)
    assert capsys.readouterr().out.endswith(build_motion.RIGHTS)
    text = (tmp_path / "motion/ATTRIBUTION.txt").read_text("utf-8")
    assert text.startswith(build_motion.RIGHTS)
    for part in ("- Animated Fluent Emoji", "(c) Miles", "Copyright (c) Microsoft Corporation\n"):
        assert part in text
    with pytest.raises(SystemExit, match="0"):
        build_motion.main(["--help"])
    assert build_motion.RIGHTS in capsys.readouterr().out
    assert "do not publish them, or weights trained on them" in build_motion.RIGHTS


def test_equal_packages_give_equal_bytes(tmp_path, shelf):
    for place in ("one", "two"):
        assert run(tmp_path / place, shelf, "--tar", str(tmp_path / place / "pack.tar")) == 0
    assert (tmp_path / "one/pack.tar").read_bytes() == (tmp_path / "two/pack.tar").read_bytes()


def test_the_size_is_one_that_the_sources_and_the_format_have(tmp_path, shelf, capsys):
    assert run(tmp_path, shelf, "--size", "32") == 0
    assert decoded((tmp_path / "motion/2764.mp4").read_bytes(), "2764.mp4").frames.shape == (17, 32, 32, 3)
    assert "reference" not in capsys.readouterr().out
    for size in (0, 63, 258):
        with pytest.raises(UserError, match=f"--size {size}: expected an even number of pixels"):
            build_motion.build(tmp_path / "out", size, shelf, print)


def test_a_build_that_fails_leaves_nothing(tmp_path, shelf, monkeypatch):
    monkeypatch.setattr(build_motion, "write_clip", lambda path, frames: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, shelf)
    assert [path.name for path in tmp_path.iterdir()] == ["shelf"]
