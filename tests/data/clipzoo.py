"""Whole, odd and broken clips, made in memory."""

import io
import struct
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import torch
from PIL import Image

from mmdiff.data import clipfiles
from tests.data import soundzoo
from tests.data.zoo import COLOURS, saved

NTSC = Fraction(30000, 1001)


def blocks(width: int = 48, height: int = 32) -> np.ndarray:
    """A picture of six blocks of colour."""
    rows = np.arange(height) * 2 // height
    columns = np.arange(width) * 3 // width
    return np.array(COLOURS, np.uint8).reshape(2, 3, 3)[rows[:, None], columns]


def movie(count: int = 12, width: int = 48, height: int = 32) -> np.ndarray:
    """The blocks, and a white bar in the middle that moves to the right by four pixels a frame."""
    frames = np.repeat(blocks(width, height)[None], count, 0)
    for number, frame in enumerate(frames):
        left = 4 * number % (width - 8)
        frame[height // 2 - 4 : height // 2 + 4, left : left + 8] = 255
    return frames


def numbered(count: int, width: int = 32, height: int = 32) -> np.ndarray:
    """Flat grey frames, each unlike its neighbours; ``levels`` tells them apart after any codec."""
    greys = (np.arange(count) * 37 % 8 * 32 + 16).astype(np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (count, height, width, 3)).copy()


def levels(frames: np.ndarray) -> list[int]:
    """The grey of each numbered frame, as a number from 0 to 7."""
    return (frames.reshape(len(frames), -1).mean(1) // 32).astype(int).tolist()


def filmed(
    frames: np.ndarray,
    rate: Fraction | int = 24,
    kind: str = "mp4",
    codec: str = "libx264",
    *,
    pix_fmt: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    base: Fraction | None = None,
    sound: np.ndarray | None = None,
    turn: tuple[float, bool, bool] | None = None,
    aspect: Fraction | None = None,
    matrix: int | None = None,
    options: dict[str, str] | None = None,
    coding: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a film that FFmpeg writes; ``ticks`` in units of ``base`` replace the regular times."""
    buffer = io.BytesIO()
    base = base or 1 / Fraction(rate)
    with av.open(buffer, "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=coding or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.codec_context.time_base = pix_fmt, base
        stream.codec_context.thread_count = 1
        if turn is not None:
            stream.set_display_rotation(*turn)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        voice = container.add_stream("aac", rate=16_000, layout="mono") if sound is not None else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix)
            frame.colorspace = 2  # whatever it was made with, the file does not say
            frame.pts, frame.time_base = number if ticks is None else ticks[number], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            piece = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
            piece.sample_rate, piece.pts = 16_000, 0
            fifo = av.AudioFifo()
            fifo.write(piece)
            for part in [*fifo.read_many(1024), fifo.read(), None]:
                container.mux(voice.encode(part))
    return buffer.getvalue()


def animated(frames: np.ndarray, kind: str, milliseconds: int | Sequence[int] = 40, **options) -> bytes:
    """The bytes of an animation that Pillow writes."""
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in frames)
    options = {"lossless": True, **options} if kind == "WEBP" else options
    first.save(buffer, kind, save_all=True, append_images=others, duration=milliseconds, **options)
    return buffer.getvalue()


def boxes(data: bytes) -> list[bytes]:
    """The kinds of an MP4's outermost boxes, in order."""
    at, kinds = 0, []
    while at + 8 <= len(data):
        kinds.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    return kinds


def whole() -> dict[str, bytes]:
    """Good files of many formats: the movie, 12 frames, 24 a second (25 where a format rounds)."""
    frames = movie()
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    return {
        "h264.mp4": filmed(frames),
        "front.mov": filmed(frames, kind="mov"),
        "mpeg4.mp4": filmed(frames, codec="mpeg4", coding={"qscale": "1"}),
        "fragments.mp4": filmed(frames, options=flags),
        "h264.mkv": filmed(frames, kind="matroska"),
        "vp9.webm": filmed(frames, kind="webm", codec="libvpx-vp9", coding={"crf": "10", "b": "0"}),
        "mpeg4.avi": filmed(frames, kind="avi", codec="mpeg4", coding={"qscale": "1"}),
        "mjpeg.avi": filmed(frames, kind="avi", codec="mjpeg", pix_fmt="yuvj420p", coding={"qscale": "1"}),
        "ffv1.mkv": filmed(frames, kind="matroska", codec="ffv1"),
        "h264.ts": filmed(frames, kind="mpegts"),
        "mpeg2.mpg": filmed(frames, kind="mpeg", codec="mpeg2video", coding={"qscale": "1"}),
        "sound.mp4": filmed(frames, sound=soundzoo.tone()),
        "pillow.gif": animated(frames, "GIF"),
        "pillow.webp": animated(frames, "WEBP"),
        "pillow.png": animated(frames, "PNG"),
    }


def claims_more() -> bytes:
    """An MP4 of whole boxes whose index lists 24 frames, of which 10 are there."""
    data = bytearray(clipfiles.encoded(torch.from_numpy(numbered(24)), Fraction(24)))
    sizes, offsets = data.index(b"stsz") + 16, data.index(b"stco") + 12
    (first,) = struct.unpack(">I", data[offsets : offsets + 4])
    end = first + sum(struct.unpack(">10I", data[sizes : sizes + 40]))
    box = data.index(b"mdat") - 4
    data[box : box + 4] = struct.pack(">I", end - box)
    return bytes(data[:end])


def broken() -> dict[str, bytes]:
    """Files that must be refused."""
    cover = saved(blocks(), "PNG")
    files = whole()
    unseen = io.BytesIO()
    with av.open(unseen, "w", format="mp4") as container:
        container.add_stream("libx264", rate=24).width = 32
        container.start_encoding()
    return {
        "empty.mp4": b"",
        "page.mp4": b"<!DOCTYPE html><html><body>404</body></html>",
        "text.mp4": b"this is not a clip\n",
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9.0,\nother.mp4\n#EXT-X-ENDLIST\n",
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "brand_only.mp4": struct.pack(">I", 24) + b"ftypisom\0\0\2\0isomiso2",
        "sound_only.mp4": soundzoo.muxed(soundzoo.tone(), "ipod", "aac"),
        "no_frames.mp4": unseen.getvalue(),
        "claims_more.mp4": claims_more(),
        "cover.png": cover[: len(cover) // 2],
        "absurd.gif": b"GIF89a\xff\xff\xff\xff" + files["pillow.gif"][10:],
        "start.gif": b"GIF89a",
        "start.webm": files["vp9.webm"][:100],
        **{
            f"cut {name}": data[: len(data) * 6 // 10]
            for name, data in files.items()
            if not name.endswith((".ts", ".mpg"))  # nothing in them says where they end
        },
    }


def trimmed(count: int, first: int) -> bytes:
    """An MP4 of ``count`` numbered frames whose edit list starts at frame ``first``, as phones trim clips."""
    scale = 12_288  # ticks a second, 512 a frame
    options = {"movie_timescale": str(scale), "video_track_timescale": str(scale)}
    data = bytearray(filmed(numbered(count), options=options, coding={"bf": "2", "g": "48"}))
    at = data.index(b"elst") + 12
    _, delay = struct.unpack(">Ii", data[at : at + 8])
    data[at : at + 8] = struct.pack(">Ii", (count - first) * scale // 24, delay + first * scale // 24)
    return bytes(data)
