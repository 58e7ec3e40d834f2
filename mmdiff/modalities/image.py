"""Pictures: files to uint8 RGB and back, and to x0 in [-1, 1]."""

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from PIL import ExifTags, PngImagePlugin
from PIL import Image as Pillow
from torch import Tensor

from mmdiff.data import looks
from mmdiff.data.pictures import FORMATS, box, covering, decoded, from_x0, to_x0
from mmdiff.data.scan import PICTURES
from mmdiff.errors import UserError
from mmdiff.modalities import base
from mmdiff.modalities.sample import Sample
from mmdiff.recipe import Recipe, pixels

_KEY = "mmdiff"  # of the PNG text chunk that holds the provenance
_EXIF_ASCII = b"ASCII\0\0\0"  # EXIF 2.3, table 6: how a UserComment says that it is ASCII
_LARGEST_EXIF = 65_000  # a JPEG segment holds 65,533 bytes, a few of which are EXIF's own
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
}


@dataclass(frozen=True)
class Image:
    """Pictures of one size in pixels; others are scaled to cover it and cropped in the middle."""

    width: int = 32
    height: int = 32

    name: ClassVar[str] = "image"
    noun: ClassVar[str] = "pictures"
    extents: ClassVar[tuple[str, ...]] = ("size",)
    plays: ClassVar[str] = ""
    suffix: ClassVar[str] = ".png"
    suffixes: ClassVar[frozenset[str]] = PICTURES
    formats: ClassVar[tuple[str, ...]] = ("png", "jpg", "webp")
    whitens: ClassVar[bool] = False
    measures: ClassVar[frozenset[str]] = frozenset({"width", "height"})
    styles: ClassVar[int] = looks.FEATURES
    seconds_per_position: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise UserError(f"image size {self.width}x{self.height}: expected at least 1x1")

    @classmethod
    def of(cls, recipe: Recipe) -> "Image":
        """The modality at the size that a recipe gives."""
        return cls(*pixels(recipe.data.size))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of x0: channels, height, width."""
        return 3, self.height, self.width

    @property
    def size(self) -> str:
        """WIDTHxHEIGHT in pixels."""
        return f"{self.width}x{self.height}"

    def sized(self, size: str) -> "Image":
        """The same for pictures of another size. Raises UserError unless it is WIDTHxHEIGHT."""
        width, height = pixels(size)
        return dataclasses.replace(self, width=width, height=height)

    def size_with(self, asked: Mapping[str, Any]) -> str:
        """The size that is asked for."""
        return str(asked.get("size", self.size))

    def read(self, data: bytes, name: str = "picture") -> Sample:
        """The first picture in the bytes of a file, at its own size. Raises BadFile for whatever is wrong."""
        return Sample(torch.from_numpy(decoded(data, name)))

    def facts(self, sample: Sample) -> dict[str, int]:
        """What the audit says of a sample."""
        height, width, _ = sample.value.shape
        return {"width": width, "height": height}

    def pack(self, sample: Sample) -> UInt8[Tensor, "3 h w"]:
        """The sample at this modality's size, in as few bytes as it can be kept: what caches hold."""
        value = covering(sample.value.numpy(), self.width, self.height)
        return torch.from_numpy(value).permute(2, 0, 1).contiguous()

    def window(self, packed: UInt8[Tensor, "3 h w"], place: float) -> tuple[UInt8[Tensor, "3 h w"], None]:
        """All of it."""
        return packed, None

    def style(self, packed: UInt8[Tensor, "3 h w"]) -> Float[Tensor, " d"]:
        """How it looks, whatever it shows."""
        return looks.look(packed)

    def kept(self, places: str, packed: UInt8[Tensor, "3 h w"], begins: int = 0) -> Bool[Tensor, "1 h w"]:
        """Which pixels are those of a picture: those in any of the boxes, or after a minus in none of them.

        Args:
            places: such as "16x32+0+0" (the left half of a picture of 32x32), "-8x8+12+12" (all but a square
                in the middle), or several boxes with commas between; "" for all.
            packed: the picture.
            begins: nothing, for pictures have no time.
        """
        if not places:
            return torch.ones(1, self.height, self.width, dtype=torch.bool)
        inside = torch.zeros(1, self.height, self.width, dtype=torch.bool)
        for place in places.removeprefix("-").split(","):
            found = box(place)
            if found is None:
                raise UserError(
                    f"places {places!r}: got the box {place!r}, expected WIDTHxHEIGHT+LEFT+TOP in pixels, "
                    "such as 16x32+0+0; a minus before all boxes keeps what is outside"
                )
            inside[:, *found] = True
        return ~inside if places.startswith("-") else inside

    def begins(self, start: str) -> int:
        """Raises UserError, because pictures begin at no time."""
        raise UserError(f"start {start!r}: got it for a picture, expected one of sounds or clips only")

    def unpack(self, packed: UInt8[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
        """x0 in [-1, 1]."""
        return to_x0(packed)

    def encode(self, sample: Sample) -> Float[Tensor, "3 h w"]:
        """x0 in [-1, 1]: exact for a picture of this size, else rounded to 8 bits after scaling."""
        return self.unpack(self.pack(sample))

    def decode(self, x0: Float[Tensor, "3 h w"]) -> Sample:
        """The picture nearest to x0: clamped to [-1, 1] and rounded to 8 bits.

        Raises:
            ValueError: x0 holds numbers that are not finite.
        """
        return Sample(from_x0(x0).permute(1, 2, 0).contiguous())

    def preview(self, sample: Sample) -> Pillow.Image:
        """The sample as a Pillow picture."""
        return Pillow.fromarray(sample.value.numpy())

    def to_bytes(
        self, sample: Sample, suffix: str = ".png", provenance: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes of a PNG, JPEG (quality 95, 4:4:4) or WebP (lossless) file.

        The provenance is JSON in a PNG text chunk `mmdiff`, else in the EXIF UserComment.
        """
        if suffix.lower() not in _WRITERS:
            raise UserError(f"cannot write pictures as {suffix!r}; expected one of {', '.join(_WRITERS)}")
        kind, options = _WRITERS[suffix.lower()]
        buffer = io.BytesIO()
        self.preview(sample).save(buffer, kind, **options, **_embedded(kind, provenance))
        return buffer.getvalue()

    write = base.write

    @staticmethod
    def read_provenance(path: str | Path | bytes) -> dict[str, Any] | None:
        """What `write` embedded in a file, or None when there is no provenance of ours.

        Args:
            path: the file, or its bytes.

        Raises:
            UserError: it is no picture.
        """
        try:
            with Pillow.open(
                io.BytesIO(path) if isinstance(path, bytes) else path, formats=FORMATS
            ) as picture:
                comment = picture.info.get(_KEY) or _user_comment(picture)
        except Exception as error:  # decoders raise almost anything on damaged files
            name = "the picture" if isinstance(path, bytes) else path
            raise UserError(f"{name} cannot be read as a picture: {error}") from None
        try:
            found = json.loads(comment) if comment else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


def _embedded(kind: str, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of Pillow's writer that put the provenance into the file."""
    if provenance is None:
        return {}
    text = json.dumps(dict(provenance), sort_keys=True)  # ASCII: readable whatever a viewer takes it for
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(_KEY, text)
        return {"pnginfo": chunks}
    if len(text) > _LARGEST_EXIF:
        raise UserError(f"provenance of {len(text)} bytes does not fit into a {kind} file; write a PNG")
    exif = Pillow.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _EXIF_ASCII + text.encode("ascii")
    return {"exif": exif}


def _user_comment(picture: Pillow.Image) -> str:
    comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    return comment.removeprefix(_EXIF_ASCII).decode("ascii", "replace") if isinstance(comment, bytes) else ""
