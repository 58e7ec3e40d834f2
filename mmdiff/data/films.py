"""Films: what FFmpeg reads, by presentation time, with rotation and sample aspect ratio applied."""

import io
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from mmdiff.data import cliptags
from mmdiff.data.badfile import BadFile
from mmdiff.data.cliptags import ClipSize
from mmdiff.data.pictures import Picture
from mmdiff.data.shown import Film, Shown, refuse_large, refusing

# No other format is tried: playlists, for one, would open other files and addresses.
CONTAINERS = (
    "asf,avi,flv,ivf,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,mxf,ogg,yuv4mpegpipe"
)
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
_USUAL = Fraction(25)  # frames a second where a film says nothing, as in FFmpeg
_UNSPECIFIED, _BT709, _BT601 = 2, 1, 5  # matrices: of the frame by ITU-T H.273, then two of libswscale
_SCALING = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND


def opened(data: bytes) -> InputContainer:
    """The bytes of a film as FFmpeg sees them. Raises whatever FFmpeg and PyAV do."""
    whitelist = {"format_whitelist": CONTAINERS}
    return av.open(io.BytesIO(data), "r", options=whitelist, metadata_errors="replace")


def comment(container: InputContainer) -> str:
    """The comment of a film, "" when there is none."""
    tags = [container.metadata, *(stream.metadata for stream in container.streams.video)]
    return next((value for tag in tags for key, value in tag.items() if key.lower() == "comment"), "")


def film(data: bytes, name: str, start: Fraction = Fraction(0)) -> Film:
    """The first stream of pictures, from the key frame before ``start`` on, seconds after its first frame.

    Raises:
        BadFile: it is no film, or has no pictures.
    """
    with refusing(name, "not a clip, or damaged at its start"):
        container = opened(data)
        streams = [stream for stream in container.streams.video if not stream.disposition & _COVERS]
        if not streams:
            raise BadFile(name, "no pictures in it")
        stream = streams[0]
        if stream.codec_context is None:
            raise BadFile(name, "no decoder for its pictures")
        refuse_large(stream.width, stream.height, name)
        stream.codec_context.options = {"err_detect": "explode"}  # rather than made-up pixels
        stream.codec_context.thread_count = 1  # who reads many clips reads them side by side
        size, _ = cliptags.told(comment(container))
    shown = _shown(container, stream, name, start, size)
    return Film(shown, _tick(stream), stream.average_rate, size, _seconds(container, stream))


def _shown(
    container: InputContainer, stream: VideoStream, name: str, start: Fraction, size: ClipSize | None
) -> Iterator[Shown]:
    to_picture, tick, step = _Converter(stream, size), _tick(stream), _step(stream)
    origin = stream.start_time * tick if stream.start_time is not None and start > 0 else None
    time, count = -step, 0
    with container:
        if origin is not None:
            container.seek(int((origin + start) / tick), stream=stream)
        for count, frame in enumerate(_frames(container, stream, name), 1):
            own = _time(frame, tick)
            if origin is None:
                origin = own or Fraction(0)
            if own is not None and (count == 1 or own - origin > time):
                time = own - origin
            else:
                time += step
            lasts = frame.duration * tick if frame.duration else step
            yield Shown(time, lasts, partial(to_picture, frame, name))
        claimed = _claimed(container, stream)
    if start == 0 and count < claimed:
        raise BadFile(name, f"cut off: {count} of {claimed} frames are there")


def _tick(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, av.time_base)


def _step(stream: VideoStream) -> Fraction:
    """Seconds from a frame to the next where nothing else tells."""
    return 1 / (stream.average_rate or stream.guessed_rate or _USUAL)


def _seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """How long the film lasts, as far as it says so itself."""
    if stream.duration is not None:
        return stream.duration * _tick(stream)
    return None if container.duration is None else Fraction(container.duration, av.time_base)


def _frames(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise BadFile(name, "cut off")
        yield from packet.decode()


def _time(frame: VideoFrame, tick: Fraction) -> Fraction | None:
    """Seconds by the clock of the film; of AVI we know only when a frame is decoded."""
    ticks = frame.dts if frame.pts is None else frame.pts
    return None if ticks is None else ticks * tick


def _claimed(container: InputContainer, stream: VideoStream) -> int:
    """Frames that the index of an MP4 lists, without those that its edit list takes out."""
    if "mp4" not in container.format.name:
        return 0
    return sum(not entry.is_discard and entry.size > 0 for entry in stream.index_entries)


class _Converter:
    """Decoded frames of one film to RGB pictures, all of the size of the first.

    Args:
        size: the true width and height, which the film may hold rounded up to even ones; None: the film's.
    """

    def __init__(self, stream: VideoStream, size: ClipSize | None) -> None:
        self._scaler = VideoReformatter()
        self._aspect = stream.sample_aspect_ratio or Fraction(1)
        self._true = size
        self._square: tuple[int, int] | None = None
        self._display: list[int] = []

    def __call__(self, frame: VideoFrame, name: str) -> Picture:
        with refusing(name):
            if self._square is None:
                self._square = _squared(frame.width, frame.height, self._aspect)
                refuse_large(*self._square, name)
                # Once: what asks a frame for its side data keeps it until the next garbage collection
                self._display = _display(frame)
            plain = self._scaler.reformat(
                frame, *self._square, "rgb24", _matrix(frame), interpolation=int(_SCALING), threads=1
            )
            return _turned(_cropped(plain.to_ndarray(), self._true), self._display)


def _squared(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The size with square pixels: the shorter side of a pixel is stretched, so that no detail is lost."""
    return round(width * max(aspect, Fraction(1))), round(height * max(1 / aspect, Fraction(1)))


def _cropped(picture: Picture, true: ClipSize | None) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Without the row and the column that even sizes may have taken."""
    if true is None:
        return picture
    height, width, _ = picture.shape
    rows = true.height if true.height == height - 1 else height
    columns = true.width if true.width == width - 1 else width
    return picture[:rows, :columns]


def _matrix(frame: VideoFrame) -> int | None:
    """What made the frame from RGB, where it does not say so itself: BT.601 below HD, as players guess."""
    if frame.colorspace != _UNSPECIFIED or frame.format.is_rgb:
        return None
    return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601


def _display(frame: VideoFrame) -> list[int]:
    """The display matrix (ISO 14496-12, section 8.3.2), row by row; the identity where there is none."""
    sides: Any = frame.side_data
    try:
        return np.frombuffer(bytes(sides["DISPLAYMATRIX"]), np.int32).tolist()
    except KeyError:
        return [1, 0, 0, 0, 1, 0, 0, 0, 1]


def _turned(picture: Picture, matrix: list[int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture as the matrix shows it, to a quarter turn: x' = a x + c y, y' = b x + d y."""
    a, b, _, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        a, d, picture = c, b, picture.transpose(1, 0, 2)
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
