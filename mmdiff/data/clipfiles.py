"""Clips written: MP4, WebM, GIF and PNG sequences, exact in time and colour, with provenance inside.

The rate stays a fraction. MP4 counts in ticks of which a frame takes a whole number, in every header, so its
duration is exact; WebM rounds to thousandths of a second and GIF to hundredths, each frame on its own, so
that nothing adds up. The same clip gives the same bytes: one thread encodes, and no clock is asked.

A PNG sequence is a folder of pictures called 00000.png, 00001.png, ...: what compositing programs take, and
what ``ffmpeg -i clip/%05d.png`` reads. Each picture holds the provenance itself, so any of them tells.
"""

import io
import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin
from torch import Tensor

from mmdiff import files
from mmdiff.data import animations, cliptags, films
from mmdiff.data.cliptags import ClipSize
from mmdiff.data.pictures import Picture
from mmdiff.errors import UserError

_BT709, _LIMITED = 1, 1  # ITU-T H.273: primaries, transfer and matrix; and the range 16 to 235
_FINEST = 10_000  # ticks a second at least, for players that count coarse ticks badly
_FASTEST = 1000  # frames a second
_MOST_TICKS = 2**31 - 1  # a second: what headers hold
_QUICKEST_GIF = 50  # frames a second: browsers slow shorter delays than 2/100 s down to 1/10 s
_COLOURS = 1_000_000  # pixels of a clip that its palette is chosen from
_SCALING = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
)
_NUMBERED = re.compile(r"\d{5,}\.png")
Frames = UInt8[np.ndarray, "f h w 3"]


class _Kind(NamedTuple):
    """How FFmpeg writes a kind of film."""

    container: str
    codec: str
    options: Mapping[str, str]
    even: bool  # whether width and height must be


# No frame waits for a later one (bf 0): then no edit list is needed, which some players get wrong.
# Left to choose by processor, x264 gives some clips other bytes from run to run.
STEADY = {"x264-params": "cpu-independent=1"}
_H264 = {"crf": "12", "preset": "medium", "bf": "0", "threads": "1", **STEADY}
_VP9 = {"crf": "16", "b": "0", "deadline": "good", "cpu-used": "2", "row-mt": "0", "threads": "1"}
FILMS = {
    ".mp4": _Kind("mp4", "libx264", _H264, even=True),
    ".webm": _Kind("webm", "libvpx-vp9", _VP9, even=False),
}
SUFFIXES = (*FILMS, ".gif")


def encoded(
    frames: UInt8[Tensor, "f h w 3"],
    fps: Fraction,
    suffix: str = ".mp4",
    provenance: Mapping[str, Any] | None = None,
    name: str = "clip",
) -> bytes:
    """The bytes of an MP4 (H.264, 4:2:0, BT.709), a WebM (VP9, likewise) or a GIF (one palette, endless).

    An MP4 of odd size repeats its last row and column; its comment says so, and our reader cuts them off. A
    GIF of more than 50 frames a second leaves frames out. The provenance is JSON in the comment of the file.

    Args:
        name: of the request, for messages.

    Raises:
        UserError: the format does not exist, or cannot hold such a clip.
        ValueError: there are no frames, or no pixels.
    """
    suffix = suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"cannot write clips as {suffix!r}; expected one of {', '.join(SUFFIXES)}")
    pictures = _checked(frames, fps, name)
    comment = cliptags.comment(_size(pictures, fps), provenance)
    if suffix == ".gif":
        return _gif(pictures, fps, comment)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip"
        _film(pictures, fps, FILMS[suffix], comment, path)
        return path.read_bytes()


def write(
    frames: UInt8[Tensor, "f h w 3"],
    fps: Fraction,
    path: str | Path,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a file of the kind that its extension says, whole or not at all; without one, a PNG sequence.

    Films and sequences are written frame by frame, so that frames which are mapped from a file need no
    memory; for its palette, a GIF is held whole.

    Raises:
        UserError, ValueError: as ``encoded`` does.
        UserError: the folder of a PNG sequence holds other files.
    """
    path = Path(path)
    if (suffix := path.suffix.lower()) in FILMS:
        pictures = _checked(frames, fps, path.name)
        with files.replacing(path) as part:
            comment = cliptags.comment(_size(pictures, fps), provenance)
            _film(pictures, fps, FILMS[suffix], comment, part)
    elif suffix:
        files.write_bytes(path, encoded(frames, fps, path.suffix, provenance, path.name))
    else:
        _write_sequence(_checked(frames, fps, path.name), fps, path, provenance)


def read_provenance(path: str | Path | bytes) -> dict[str, Any] | None:
    """What ``write`` embedded in a clip, or None when there is no provenance of ours.

    Args:
        path: the file or its bytes, or the folder of a PNG sequence.

    Raises:
        UserError: it is no clip.
    """
    try:
        comment = _comment(path if isinstance(path, bytes) else _bytes(Path(path)))
    except Exception as error:  # decoders raise almost anything on damaged files
        name = "the clip" if isinstance(path, bytes) else path
        raise UserError(f"{name} cannot be read as a clip: {error}") from None
    return cliptags.told(comment)[1]


def refuse_rate(fps: Fraction) -> None:
    """Raises UserError for a rate that files cannot hold exactly."""
    if not 0 < fps <= _FASTEST or _ticks(fps) > _MOST_TICKS:
        raise UserError(f"got {fps} frames a second, expected a plain rate, {_FASTEST} at most")


def frames_of(folder: Path) -> list[Path]:
    """The pictures of a sequence as ``write`` names them, in order; none of what is no such folder."""
    return sorted(path for path in folder.glob("*.png") if _NUMBERED.fullmatch(path.name))


def _bytes(path: Path) -> bytes:
    return next(iter(frames_of(path)), path).read_bytes()


def _comment(data: bytes) -> str:
    if animations.is_animation(data):
        with Image.open(io.BytesIO(data), formats=animations.FORMATS) as picture:
            return animations.comment(picture)
    if animations.is_still(data):
        return ""
    with films.opened(data) as container:
        return films.comment(container)


def _checked(frames: UInt8[Tensor, "f h w 3"], fps: Fraction, name: str) -> Frames:
    if not frames.numel():
        raise ValueError(f"{name} has no pixels: {' x '.join(map(str, frames.shape))}")
    refuse_rate(fps)
    return np.ascontiguousarray(frames.detach().cpu().numpy())


def _size(pictures: Frames, fps: Fraction) -> ClipSize:
    count, height, width, _ = pictures.shape
    return ClipSize(width, height, count, fps)


def _ticks(fps: Fraction) -> int:
    """Ticks a second of which a frame takes a whole number."""
    ticks = fps.numerator
    while ticks < _FINEST:
        ticks *= 2
    return ticks


def _film(pictures: Frames, fps: Fraction, kind: _Kind, comment: str, path: Path) -> None:
    """Writes a film, not through a stream: its index can only come first in what FFmpeg can open again."""
    ticks = str(_ticks(fps))
    options = {"fflags": "+bitexact"}  # no version, no clock, no random number
    if kind.container == "mp4":
        options |= {"movflags": "+faststart", "video_track_timescale": ticks, "movie_timescale": ticks}
    _, height, width, _ = pictures.shape
    down, right = (height % 2, width % 2) if kind.even else (0, 0)
    # FFmpeg takes what comes before a colon for a protocol, but not in an absolute path
    with av.open(str(path.absolute()), "w", format=kind.container, options=options) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream(kind.codec, rate=fps, options=dict(kind.options))
        assert isinstance(stream, VideoStream)
        _set_up(stream, width + right, height + down, fps)
        padded = (np.pad(picture, ((0, down), (0, right), (0, 0)), "edge") for picture in pictures)
        _fill(container, stream, padded, fps)


def _set_up(stream: VideoStream, width: int, height: int, fps: Fraction) -> None:
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    codec = stream.codec_context
    codec.time_base = 1 / fps
    codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
    codec.color_range = _LIMITED
    codec.thread_count = 1
    codec.flags |= Flags.bitexact


def _fill(
    container: OutputContainer, stream: VideoStream, pictures: Iterable[Picture], fps: Fraction
) -> None:
    scaler = VideoReformatter()
    for number, picture in enumerate(pictures):
        frame = scaler.reformat(
            av.VideoFrame.from_ndarray(picture, "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=int(_SCALING),
            threads=1,
        )
        frame.pts, frame.time_base = number, 1 / fps
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _gif(pictures: Frames, fps: Fraction, comment: str) -> bytes:
    numbers, delays = _hundredths(len(pictures), fps)
    pixels = pictures.reshape(-1, 1, 3)
    sample = np.ascontiguousarray(pixels[:: len(pixels) // _COLOURS + 1])
    palette = Image.fromarray(sample).quantize(256, Image.Quantize.MEDIANCUT)
    # Without dither: its grain would crawl from frame to frame
    first, *others = (
        Image.fromarray(pictures[number]).quantize(palette=palette, dither=Image.Dither.NONE)
        for number in numbers
    )
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=[10 * delay for delay in delays],
        loop=0,
        comment=comment.encode("ascii"),
        optimize=False,
    )
    return buffer.getvalue()


def _hundredths(count: int, fps: Fraction) -> tuple[Sequence[int], Sequence[int]]:
    """Which frames of a clip a GIF shows, and their delays in hundredths of a second; no error adds up."""
    rate = min(fps, Fraction(_QUICKEST_GIF))
    shown = max(1, round(count * rate / fps))
    ends = [round(100 * number / rate) for number in range(shown + 1)]
    numbers = [int(number * fps / rate) for number in range(shown)]
    return numbers, [end - start for start, end in pairwise(ends)]


def _write_sequence(
    pictures: Frames, fps: Fraction, folder: Path, provenance: Mapping[str, Any] | None
) -> None:
    """A folder of numbered pictures, in place of an older one."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if not _NUMBERED.fullmatch(path.name):
            raise UserError(f"{folder}: holds {path.name}; a PNG sequence takes a folder of its own")
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(cliptags.KEY, str(_size(pictures, fps)))
    if provenance is not None:
        chunks.add_itxt("mmdiff", json.dumps(dict(provenance), sort_keys=True))  # as in a picture of ours
    part = files.temporary(folder.with_name(f"{folder.name}.new"))  # the older one leaves under its own
    part.mkdir()
    try:
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(part / f"{number:05}.png", pnginfo=chunks)
            files.sync(part / f"{number:05}.png")
        files.remove(folder)
        part.rename(folder)
        files.sync(folder.parent)
    except BaseException:
        files.remove(part)
        raise
