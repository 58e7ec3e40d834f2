"""Builds the motion folder: captioned animated emoji on white, as H.264 clips of 24 frames a second.

Writes DIR/{concept}.mp4, DIR/metadata.jsonl (file_name, text, tags, group, concept, fps, frames) and
DIR/ATTRIBUTION.txt from five npm packages of 737 MB together. They are downloaded once with `npm pack`, which
runs nothing of theirs, checked against pinned SHA-256 sums, and kept. Encoding takes 80 seconds of one core.

Emoji with a skin tone, those of fewer than 16 frames and those that stand still are left out.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath

import av
import numpy as np
import PIL
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import UInt8
from PIL import Image

from mmdiff.data.clipfiles import STEADY
from mmdiff.errors import UserError
from tools.data import folder as folders
from tools.data.concepts import CREDIT, Concept, concept_id, fluent_licence, on_white, open_concepts
from tools.data.folder import Row, command, compare, counted, counts, making, write_attribution, write_rows
from tools.data.packages import Package, Say, fetch, unpack

ANIMATED = tuple(
    Package(name=f"@lobehub/fluent-emoji-anim-{number}", version="1.0.0", sha256=sha256, megabytes=megabytes)
    for number, sha256, megabytes in (
        (1, "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea", 165.0),
        (2, "e431da8172e394036c330faa77648d6fbbae1fd3b0be95637c4497c9075019c0", 181.9),
        (3, "3624d0c34c819c1794b74ccf6ae9034adff7c4cb6318dd2a645145f0196feb43", 197.0),
        (4, "3d4c08f1e321f70808ef4996aba0ab575a9d97b6c56ffffc92cf6161a7836aa3", 185.9),
    )
)

RIGHTS = """\
Before anything of it is published: the packages declare the MIT License, but they repackage animations by
Microsoft. The static Fluent Emoji are under the MIT License by Microsoft; for the animated ones
(microsoft/fluentui-emoji-animated on GitHub) no licence file was found, and in January 2023 a maintainer
wrote in issue 51 of microsoft/fluentui-emoji that there was no explicit open licence for Fluent Emoji outside
that repository. Use the clips for tests and experiments; do not publish them, or weights trained on them,
until this is settled.
"""

# digest() of the build at 64 px with Pillow 13.0.0 and av 18.1.0
REFERENCE_SIZE = 64
REFERENCE = "6b71c9eb50a95a3ebb358e5ff82d1dfb6b244ba3f165bffac32bc7a3a036e977"

FPS = 24
LARGEST = 256  # pixels of a side of the sources
FEWEST = 16  # frames
USUAL = 42  # milliseconds for which a frame is shown that does not say
SKIN_TONE = re.compile("1f3f[b-f]")
CODING = {"crf": "16", "preset": "slow", **STEADY}
BT601, LIMITED = 6, 1  # ITU-T H.273: primaries, transfer and matrix; and the range 16 to 235

Picture = UInt8[np.ndarray, "h w 3"]


def shown(data: bytes, size: int) -> list[Picture]:
    """The frames of an animation, each as often as it is shown at a tick; none where it is too short."""
    frames: list[Picture] = []
    with Image.open(io.BytesIO(data)) as image:
        count = getattr(image, "n_frames", 1)
        for number in range(count if count >= FEWEST else 0):
            image.seek(number)
            picture = np.asarray(on_white(image, size))
            frames += [picture] * max(1, round(image.info.get("duration", USUAL) * FPS / 1000))
    return frames


def write_clip(path: Path, frames: Sequence[Picture]) -> None:
    """Writes an MP4 (H.264, 4:2:0, BT.601) whose bytes depend on the frames alone."""
    height, width, _ = frames[0].shape
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as box:
        stream = box.add_stream("libx264", rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        stream.options = CODING
        codec = stream.codec_context
        codec.colorspace = codec.color_primaries = codec.color_trc = BT601
        codec.color_range = LIMITED
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG
            )
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            box.mux(stream.encode(frame))
        box.mux(stream.encode())


def animations(concepts: Mapping[str, Concept], cache: Path, say: Say) -> Iterator[tuple[str, bytes]]:
    """Gives the files of all packages, one package in memory at a time, by the concepts that they show."""
    for package in ANIMATED:
        files = unpack(fetch(package, cache, say), re.compile(r"assets/[^/]*\.webp"))
        for name in counted(sorted(files), f"files of {package.name}"):
            concept, data = concept_id(PurePosixPath(name).stem), files.pop(name)
            if concept in concepts and not SKIN_TONE.search(concept):
                yield concept, data


def encode(
    folder: Path, concepts: Mapping[str, Concept], found: Iterator[tuple[str, bytes]], size: int
) -> list[str]:
    """Writes all clips and ``metadata.jsonl`` into ``folder``; returns its lines."""
    rows: list[Row] = []
    for concept, data in found:
        frames = shown(data, size)
        if any((frame != frames[0]).any() for frame in frames):
            name, info = f"{concept}.mp4", concepts[concept]
            write_clip(folder / name, frames)
            text = {"file_name": name, "text": info["text"], "tags": info["tags"], "group": info["group"]}
            rows.append({**text, "concept": concept, "fps": FPS, "frames": len(frames)})
    return write_rows(folder, rows)


def digest(folder: Path, rows: list[str]) -> str:
    """SHA-256 over all rows and files."""
    return folders.digest(rows, lambda name: (folder / name).read_bytes())


def attribution(mit: str) -> str:
    """What may be done with the clips, their makers, and the licence texts that a copy must carry.

    Args:
        mit: the licence text of the captions.
    """
    credits = [
        "Animated Fluent Emoji, Copyright (c) Microsoft Corporation; packaged by LobeHub, who declares the "
        "MIT License. Resized, on white, as H.264.",
        CREDIT,
    ]
    texts = {"Emojibase": mit, "Fluent Emoji": fluent_licence(mit)}
    return f"{RIGHTS}\n{folders.attribution('clips and captions', credits, texts)}"


def build(out: Path, size: int, cache: Path, say: Say) -> list[str]:
    """Makes the folder ``out``, which appears only when it is complete; returns its rows.

    Raises:
        UserError: ``out`` is there already, ``size`` is not usable, or npm is needed and not installed.
        FetchError: A package could not be had.
    """
    if size % 2 or not 2 <= size <= LARGEST:
        raise UserError(f"--size {size}: expected an even number of pixels from 2 to {LARGEST}")
    with making(out) as part:
        concepts, mit = open_concepts(cache, say)
        rows = encode(part, concepts, animations(concepts, cache, say), size)
        write_attribution(part, attribution(mit))
        if size == REFERENCE_SIZE:
            here = f"here are Pillow {PIL.__version__} and av {av.__version__}"
            made = f"made with Pillow 13.0.0 and av 18.1.0; {here}"
            say(compare(digest(part, rows), REFERENCE, "clip", made))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 done, 1 failed while working, 2 the input was wrong."""
    parser = folders.parser("motion", f"{__doc__}\n{RIGHTS}")
    parser.add_argument(
        "--size", type=int, metavar="N", default=64, help="pixels of a side (default: %(default)s)"
    )
    return command(parser, arguments, lambda o: build(o.out, o.size, o.cache, print), told)


def told(rows: list[Row]) -> Iterator[str]:
    """What there is, and what may be done with it."""
    yield f"{len(rows)} clips, {sum(row['frames'] for row in rows)} frames"
    yield counts(rows, "group")
    yield f"\n{RIGHTS.rstrip()}"
