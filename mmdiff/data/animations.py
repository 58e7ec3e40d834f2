"""Animated GIF, WebP and PNG, read with Pillow: FFmpeg decodes no animated WebP and no colour profiles."""

import io
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from PIL import Image

from mmdiff.data import cliptags, pictures
from mmdiff.data.badfile import BadFile
from mmdiff.data.pictures import MOST_PIXELS, Picture, rgb
from mmdiff.data.shown import Film, Shown, refuse_large, refusing

FORMATS = ("GIF", "WEBP", "PNG")
_HASTE, _USUAL = (
    Fraction(1, 100),
    Fraction(1, 10),
)  # seconds: browsers show delays up to the first as the second


def is_animation(data: bytes) -> bool:
    """Whether the bytes are of a format that is read here; a still picture is a clip of one frame."""
    return data.startswith((b"GIF8", b"\x89PNG")) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def is_still(data: bytes) -> bool:
    """Whether the bytes are a picture that says of no frame how long it is shown; a GIF always says so."""
    formats = [kind for kind in pictures.FORMATS if kind != "GIF"]
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            return picture.format not in FORMATS or getattr(picture, "n_frames", 1) == 1
    except Exception:  # whatever a decoder makes of a film or of a damaged file
        return False


def film(data: bytes, name: str) -> Film:
    """The frames of an animation. Raises BadFile."""
    with refusing(name, "damaged at its start"):
        try:
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError:  # Pillow's own limit comes first for the largest ones
            raise BadFile(name, f"claims more pixels than the limit of {MOST_PIXELS}") from None
        refuse_large(*picture.size, name)
        size, _ = cliptags.told(comment(picture))
    return Film(_shown(picture, name), Fraction(1, 100 if picture.format == "GIF" else 1000), None, size)


def comment(picture: Image.Image) -> str:
    """The comment of a GIF, or what our PNG files hold in its place; "" when there is none."""
    found = picture.info.get("comment", picture.info.get("mmdiff", ""))
    return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)


def _shown(picture: Image.Image, name: str) -> Iterator[Shown]:
    # The picture that a PNG has for programs that cannot play it is no frame
    number, time = int(bool(getattr(picture, "default_image", False))), Fraction(0)
    with picture:
        while True:
            try:
                picture.seek(number)
            except EOFError:
                return
            picture.load()
            delay = Fraction(picture.info.get("duration", 0) / 1000).limit_denominator(65_535)
            lasts = delay if delay > _HASTE else _USUAL
            yield Shown(time, lasts, partial(_leaf, picture.copy(), name))
            number, time = number + 1, time + lasts


def _leaf(picture: Image.Image, name: str) -> Picture:
    with refusing(name):
        return rgb(picture)


def gif_fault(data: bytes) -> str:
    """Says "cut off" unless the blocks of a GIF lead to its trailer (GIF89a, appendix B)."""
    if not data.startswith(b"GIF8"):
        return ""
    padded = data + bytes(13)  # so that no look ahead can leave the file
    at = 13 + _table(padded[10])
    while at < len(data) and data[at] in b"!,":
        at += 2 if data[at] == ord("!") else 11 + _table(padded[at + 9])
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return "" if data[at : at + 1] == b";" else "cut off"


def _table(flags: int) -> int:
    """Bytes of the colour table that the flags of a GIF's screen or picture announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
