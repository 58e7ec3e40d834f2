"""Odd and broken pictures, made in memory: what a loader of user data meets sooner or later."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

# Six blocks of 16x16: large enough for every lossy format to keep their colours.
COLOURS = ((220, 40, 40), (40, 200, 40), (40, 60, 220), (230, 220, 50), (200, 60, 210), (20, 20, 20))


def blocks() -> np.ndarray:
    """A 48x32 picture of six blocks."""
    return np.array(COLOURS, np.uint8).reshape(2, 3, 3).repeat(16, 0).repeat(16, 1)


def noise(width: int = 21, height: int = 17, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8).squeeze()


def saved(picture: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by its parts; `rows` are scan lines with their filter bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(extra)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def scanlines(samples: np.ndarray) -> bytes:
    """16-bit samples as unfiltered scan lines."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)


def whole() -> dict[str, bytes]:
    """Good files of every format."""
    rgb = Image.fromarray(blocks())
    files = {
        "noise.png": saved(noise()),
        "noise.jpg": saved(noise(), "JPEG"),
        "noise.bmp": saved(noise(), "BMP"),
    }
    files |= {
        "blocks.png": saved(rgb),
        "palette.png": saved(rgb.quantize(16)),
        "baseline.jpg": saved(rgb, "JPEG", quality=95),
        "progressive.jpg": saved(rgb, "JPEG", quality=95, progressive=True),
        "lossy.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(rgb, "WEBP", lossless=True),
        "blocks.gif": saved(rgb, "GIF"),
        "blocks.tif": saved(rgb, "TIFF"),
    }
    return files


def broken() -> dict[str, bytes]:
    """Files that must be refused."""
    damaged = bytearray(saved(noise(48, 32)))
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(64)
    return {
        "empty.png": b"",
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "text.png": b"this is not a picture\n",
        "absurd.png": png(60000, 60000, 8, 2, bytes(64)),
        "large.png": png(11000, 11000, 8, 2, bytes(64)),
        "damaged.png": bytes(damaged),
        "start.jpg": b"\xff\xd8\xff\xe0" + bytes(range(200)),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        **{f"cut {name}": data[: len(data) * 6 // 10] for name, data in whole().items()},
    }
