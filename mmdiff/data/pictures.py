"""Any picture file to uint8 RGB: upright, in sRGB, its alpha on white, deep samples scaled.

Alpha is composited in sRGB values, as browsers do: `(colour * alpha + 255 * (255 - alpha)) / 255`.
"""

import io
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from mmdiff.data import whole
from mmdiff.data.badfile import BadFile

# No other format is tried, whatever the extension: some of Pillow's readers start other programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS = 100_000_000  # decided before decoding; such a picture takes 300 MB
_UPRIGHT = {  # EXIF orientation -> what turns the stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2  # TIFF 6.0, sections 8 and 19
Picture = UInt8[np.ndarray, "h w 3"]


def to_x0(packed: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """8-bit values as model values: 0 is -1, 255 is 1."""
    return packed.float() / 127.5 - 1


def from_x0(x0: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    """The 8-bit values nearest to model values, on the CPU; what is beyond [-1, 1] is clamped.

    Raises:
        ValueError: some are not finite.
    """
    x0 = x0.detach().float().cpu()
    if not bool(x0.isfinite().all()):
        raise ValueError("x0 holds numbers that are not finite, expected colours in [-1, 1]")
    return ((x0 + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def reduced(pictures: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c h2 w2"]:
    """At a shorter side of ``side`` pixels, by averaging; smaller ones as they are."""
    height, width = pictures.shape[2:]
    if (short := min(height, width)) <= side:
        return pictures
    return interpolate(pictures, (round(height * side / short), round(width * side / short)), mode="area")


def box(text: str) -> tuple[slice, slice] | None:
    """The rows and the columns of ``WIDTHxHEIGHT+LEFT+TOP`` in pixels; None for what is not of this form."""
    found = re.fullmatch(r"(\d+)x(\d+)\+(\d+)\+(\d+)", text.strip())
    if found is None:
        return None
    width, height, left, top = map(int, found.groups())
    return slice(top, top + height), slice(left, left + width)


def decoded(data: bytes, name: str) -> Picture:
    """The first picture in the bytes of a file.

    Raises:
        BadFile: whatever is wrong with the file.
    """
    if not data:
        raise BadFile(name, "empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it then reads well
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                _refuse_at_sight(picture, data, name)
                picture.load()
                return rgb(picture)
    except BadFile:
        raise
    except UnidentifiedImageError:
        raise BadFile(name, whole.fault(data) or "not a picture, or damaged at its start") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit comes first for the largest ones
        raise BadFile(name, _too_large(re.findall(r"\d+", str(error))[0])) from None
    except Exception as error:  # decoders raise almost anything on damaged files, and no file may end a run
        raise BadFile(name, _reason(error)) from None


def covering(value: Picture, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """The picture scaled to cover a size and cropped in the middle."""
    if value.shape == (height, width, 3):
        return value
    scale = min(value.shape[1] / width, value.shape[0] / height)
    across, down = width * scale, height * scale
    left, top = (value.shape[1] - across) / 2, (value.shape[0] - down) / 2
    box = (left, top, min(left + across, value.shape[1]), min(top + down, value.shape[0]))
    # Pillow widens the filter when it shrinks, which is what keeps fine detail from aliasing
    return np.array(Image.fromarray(value).resize((width, height), Image.Resampling.BICUBIC, box))


def _refuse_at_sight(picture: Image.Image, data: bytes, name: str) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise BadFile(name, _too_large(str(width * height)))
    if fault := whole.fault(data):
        raise BadFile(name, fault)


def _too_large(pixels: str) -> str:
    return f"claims {pixels} pixels, more than the limit of {MOST_PIXELS}"


def _reason(error: Exception) -> str:
    message = str(error).strip().split("\n")[0] or type(error).__name__
    return "cut off" if "truncated" in message.lower() else f"damaged: {message}"


def rgb(picture: Image.Image) -> Picture:
    """An opened picture, or the frame of it that is loaded, upright, in sRGB and on white."""
    profile = picture.info.get("icc_profile")
    turn = _UPRIGHT.get(_orientation(picture))
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;"):
        picture = _shallow(picture)
    if turn is not None:
        picture = picture.transpose(turn)
    if not picture.has_transparency_data:
        return np.array(_to_srgb(picture, profile))
    clear = _with_alpha(picture)
    paper = Image.new("RGB", clear.size, "white")
    paper.paste(_to_srgb(clear.convert("RGB"), profile), mask=clear.getchannel("A"))
    return np.array(paper)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF is no reason to refuse a good picture
        return 1


def _with_alpha(picture: Image.Image) -> Image.Image:
    """RGBA with straight alpha."""
    clear = picture.info.get("transparency")
    if picture.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        # 16-bit PNG: Pillow keeps the high bytes of the samples, but the whole of the transparent colour
        picture = picture.copy()
        picture.info["transparency"] = tuple(value >> 8 for value in clear)
    return picture.convert("RGBA")


def _shallow(picture: Image.Image) -> Image.Image:
    """8-bit grey (with alpha) of deeper whole numbers or of floating-point ones: scaled, never clipped."""
    samples = np.asarray(picture).astype(np.float64)
    if not np.isfinite(samples).all():
        raise ValueError("numbers that are not finite")
    white = max(1.0, float(samples.max())) if picture.mode == "F" else _white(picture)
    if picture.mode == "I" and white > 2**31:
        samples %= 2**32  # Pillow holds unsigned 32-bit samples as signed ones
    grey = Image.fromarray(np.round(samples.clip(0) / white * 255).astype(np.uint8))
    clear = picture.info.get("transparency")
    if not isinstance(clear, int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8))))


def _white(picture: Image.Image) -> int:
    """The largest sample that the file can hold."""
    tags: Any = getattr(picture, "tag_v2", {_BITS: (16,)})
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return int(2 ** (tags.get(_BITS, (16,))[0] - signed) - 1)


def _to_srgb(picture: Image.Image, profile: Any) -> Image.Image:
    """RGB, by the file's colour profile when it has one that fits the picture."""
    if picture.mode in {"P", "1"}:
        picture = picture.convert("RGB")
    transform = _transform(profile, picture.mode) if isinstance(profile, bytes) and profile else None
    if transform is not None:
        return ImageCms.applyTransform(picture, transform) or picture
    return picture.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None when the profile is sRGB itself, is damaged or is for another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
