"""Clips: files to uint8 RGB frames of one size and rate and back, and to x0 in [-1, 1]."""

import dataclasses
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image as Pillow
from torch import Tensor

from mmdiff.data import animations, clipfiles, clips, looks
from mmdiff.data.badfile import BadFile
from mmdiff.data.cliptags import ClipSize, size_of
from mmdiff.data.pictures import Picture, box, covering, decoded, from_x0, reduced, to_x0
from mmdiff.data.scan import FILMS, PICTURES
from mmdiff.errors import UserError
from mmdiff.metrics import motion
from mmdiff.modalities import base
from mmdiff.modalities.sample import Sample
from mmdiff.recipe import Recipe, pixels

_LONG = 1 << 26  # bytes of a packed film, from which on training decodes no more than it sees
_RUNS, _PAIRS = 4, 6  # where motion is measured: runs of neighbouring frames, spread over a long clip
_SIDE = 32  # pixels of the shorter side, at which it is
_FRAMES = re.compile(r"(\d+)(?:(-)(\d*))?")


@dataclass(frozen=True)
class Video:
    """Clips of one size, length and rate.

    Others are scaled to cover the size and cropped in the middle, and brought to the rate by showing at each
    moment what a player would; longer ones are seen through a window, shorter ones end in padding.

    Attributes:
        width: in pixels; height likewise.
        frames: of a window and of what is drawn.
        fps: frames a second.
    """

    width: int = 32
    height: int = 32
    frames: int = 16
    fps: Fraction = Fraction(8)

    name: ClassVar[str] = "video"
    noun: ClassVar[str] = "clips"
    extents: ClassVar[tuple[str, ...]] = ("frames", "seconds", "size", "fps")
    plays: ClassVar[str] = "video"
    suffix: ClassVar[str] = ".mp4"
    suffixes: ClassVar[frozenset[str]] = FILMS | PICTURES | {".apng"}
    formats: ClassVar[tuple[str, ...]] = ("mp4", "webm", "gif", "frames")
    whitens: ClassVar[bool] = False
    measures: ClassVar[frozenset[str]] = frozenset({"width", "height", "frames", "fps", "seconds", "motion"})
    styles: ClassVar[int] = looks.FEATURES

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.frames) < 1:
            raise UserError(f"clip size {self.size}: expected at least 1x1 pixels and one frame")
        clipfiles.refuse_rate(self.fps)

    @classmethod
    def of(cls, recipe: Recipe) -> "Video":
        """The modality that a recipe gives. Raises UserError that names the key."""
        data = recipe.data
        try:
            clipfiles.refuse_rate(Fraction(data.fps))
        except UserError as error:
            raise UserError(f"data.fps: {error}") from None
        return cls(*pixels(data.size), data.frames, Fraction(data.fps))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of x0: channels, frames, height, width."""
        return 3, self.frames, self.height, self.width

    @property
    def size(self) -> str:
        """WIDTHxHEIGHTxFRAMES@FPS, such as 32x32x16@24000/1001."""
        return str(ClipSize(self.width, self.height, self.frames, self.fps))

    @property
    def seconds_per_position(self) -> float:
        """Of a frame; the axis that is time is that of the frames, the first one."""
        return float(1 / self.fps)

    def sized(self, size: str) -> "Video":
        """The same for clips of another size, length and rate. Raises UserError unless it is like `size`."""
        found = size_of(size)
        if found is None:
            raise UserError(f"size {size!r}: expected WIDTHxHEIGHTxFRAMES@FPS, such as 32x32x16@8")
        return dataclasses.replace(self, **found._asdict())

    def size_with(self, asked: Mapping[str, Any]) -> str:
        """What is asked for of pixels, frames or seconds, and rate, and the rest as it is."""
        width, height = pixels(asked["size"]) if "size" in asked else (self.width, self.height)
        frames, fps = asked.get("frames", self.frames), Fraction(asked.get("fps", self.fps))
        if "seconds" in asked:
            if "frames" in asked:
                got = f"got {asked['seconds']:g} beside --frames {frames}"
                raise UserError(f"--seconds: {got}, expected one of the two")
            frames = max(1, round(Fraction(asked["seconds"]) * fps))
        return str(ClipSize(width, height, frames, fps))

    def read(self, data: bytes, name: str = "clip") -> Sample:
        """The clip in the bytes of a file, at this modality's size and rate and as long as it is.

        It is reduced while it is read, so that an hour of film takes no more memory than what is kept of it.

        A still picture is one frame. An animation, even of one frame, is shown as long as it says.

        Raises:
            BadFile: whatever is wrong with the file.
        """
        if animations.is_still(data):
            picture = decoded(data, name)
            file = _facts(picture.shape[1], picture.shape[0], 1, self.fps, 1 / self.fps)
            return Sample(torch.from_numpy(self._cover(picture)[None]), fps=self.fps, file=file)
        frames, facts = clips.decoded(data, name, self.fps, self._cover)
        file = _facts(facts.width, facts.height, len(facts.times), facts.fps, facts.seconds)
        return Sample(torch.from_numpy(frames), fps=self.fps, file=file)

    def facts(self, sample: Sample) -> dict[str, Any]:
        """What the audit says of a sample: of the file, where it came from one, and how much moves in it.

        A picture is shown for no time, and nothing is said of that.
        """
        count, height, width, _ = sample.value.shape
        fps = self._fps(sample)
        facts = {**_facts(width, height, count, fps, count / fps), **sample.file}
        if facts["frames"] == 1:
            return {name: facts[name] for name in ("width", "height", "frames")}
        return {**facts, "motion": round(_motion(sample.value, float(fps)), 3) if count > 1 else 0.0}

    def pack(self, sample: Sample) -> UInt8[Tensor, "3 f h w"]:
        """The whole clip at this modality's size and rate."""
        frames, fps = sample.value.numpy(), self._fps(sample)
        if fps != self.fps:
            frames = frames[clips.moments(len(frames), fps, self.fps)]
        if frames.shape[1:3] != (self.height, self.width):
            frames = np.stack([self._cover(frame) for frame in frames])
        return _channels_first(frames)

    def window(
        self, packed: UInt8[Tensor, "3 f h w"], place: float
    ) -> tuple[UInt8[Tensor, "3 f2 h w"], Float[Tensor, "1 f2 h w"] | None]:
        """`frames` frames, from one on that `place` decides, or all of them and the last one on and on.

        Padding repeats the last frame, so that what layers over time see across the edge is no cut; the mask
        keeps it out of the loss. A picture is no clip that ends but as many pictures, each with other noise.
        """
        if not self.moves(packed):
            return packed.expand(-1, self.frames, -1, -1), None
        spare = packed.shape[1] - self.frames
        if spare >= 0:
            start = int(place * (spare + 1))
            return packed[:, start : start + self.frames], None
        padded = torch.cat([packed, packed[:, -1:].expand(-1, -spare, -1, -1)], 1)
        return padded, self._frame_mask(range(packed.shape[1])).float()

    def moves(self, packed: UInt8[Tensor, "3 f h w"]) -> bool:
        """Whether it is no picture among clips of several frames."""
        return packed.shape[1] > 1 or self.frames == 1

    def sought(self, data: bytes, name: str, place: float) -> UInt8[Tensor, "3 f h w"] | None:
        """What `window` gives of a film too long to be decoded and kept whole, decoded from a key frame on.

        None of other files, and where the film turns out shorter than it says. It depends on the file alone
        which ones are long, so that a step sees the same whatever else is kept.
        """
        try:
            count = clips.claimed(data, name, self.fps) or 0
            if count <= self.frames or count * 3 * self.height * self.width < _LONG:
                return None
            start = int(place * (count - self.frames + 1)) / self.fps
            frames = clips.window(data, name, self.fps, start, self.frames, self._cover)
        except BadFile:  # whatever it is, decoding the whole will tell
            return None
        return _channels_first(frames) if len(frames) == self.frames else None

    def style(self, packed: UInt8[Tensor, "3 f h w"]) -> Float[Tensor, " d"]:
        """How its middle frame looks, or a picture, whatever it shows."""
        return looks.look(packed[:, packed.shape[1] // 2])

    def kept(
        self, places: str, packed: UInt8[Tensor, "3 f h w"], begins: int = 0
    ) -> Bool[Tensor, "1 f2 h w"]:
        """Which pixels of which frames are those of a clip; after a minus, all but the ones named.

        Args:
            places: frames counted from 0, such as "0", "0-3,15" or "12-", and boxes in all frames, such as
                "16x32+0+0", with commas between; "" for all. Nothing behind the end of the clip is kept, but
                a picture stands in whatever frames are named.
            packed: the clip or picture.
            begins: the frame that its first one is.

        Raises:
            UserError: places that cannot be read; says how they are written.
        """
        return self.kept_from(0, places, packed, begins, not self.moves(packed))

    def kept_from(
        self,
        start: int,
        places: str,
        packed: UInt8[Tensor, "3 f h w"],
        begins: int = 0,
        still: bool = False,
    ) -> Bool[Tensor, "1 f2 h w"]:
        """`kept` of the window that begins at frame `start` of a longer clip, of which all else is.

        Where it is `still`, a picture stands in whatever frames are named.
        """
        there = self._frame_mask(range(begins, begins + packed.shape[1]), start)
        if not places:
            return there
        if still:
            there = torch.ones_like(there)
        inside = torch.zeros_like(there)
        for place in places.removeprefix("-").split(","):
            inside |= self._part(place.strip(), places, start)
        return there & (~inside if places.startswith("-") else inside)

    def begins(self, start: str) -> int:
        """The frame that is called so, of those that a clip has."""
        if start.isdecimal() and int(start) < self.frames:
            return int(start)
        raise UserError(f"start {start!r}: expected a frame from 0 on, below {self.frames}")

    def unpack(self, packed: UInt8[Tensor, "*b 3 f h w"]) -> Float[Tensor, "*b 3 f h w"]:
        """x0 in [-1, 1]."""
        return to_x0(packed)

    def encode(self, sample: Sample) -> Float[Tensor, "3 f h w"]:
        """x0 in [-1, 1] of the whole clip, however long it is: exact at this size and rate."""
        return self.unpack(self.pack(sample))

    def decode(self, x0: Float[Tensor, "3 f h w"]) -> Sample:
        """The clip nearest to x0: clamped to [-1, 1] and rounded to 8 bits.

        Raises:
            ValueError: x0 holds numbers that are not finite.
        """
        return Sample(from_x0(x0).permute(1, 2, 3, 0).contiguous(), fps=self.fps)

    def preview(self, sample: Sample) -> Pillow.Image:
        """All frames in rows, in order of time; as near to a square as their number allows."""
        count, height, width, _ = sample.value.shape
        columns = min(count, math.ceil(math.sqrt(count * height / width)))
        rows = math.ceil(count / columns)
        sheet = np.full((rows * columns, height, width, 3), 255, np.uint8)
        sheet[:count] = sample.value.numpy()
        tiled = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
        return Pillow.fromarray(tiled.reshape(rows * height, columns * width, 3))

    def to_bytes(
        self, sample: Sample, suffix: str = ".mp4", provenance: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes of an MP4 (H.264), WebM (VP9) or GIF file; its comment holds the provenance."""
        return clipfiles.encoded(sample.value, self._fps(sample), suffix, provenance)

    def write(
        self,
        sample: Sample,
        path: str | Path | io.BufferedIOBase,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes a file of the kind that its extension says, whole or not at all; a stream gets an MP4.

        A path without extension becomes a folder of numbered PNG files. Only for a GIF must all
        frames fit into memory.
        """
        if isinstance(path, str | Path):
            clipfiles.write(sample.value, self._fps(sample), path, provenance)
        else:
            base.write(self, sample, path, provenance)

    @staticmethod
    def read_provenance(path: str | Path | bytes) -> dict[str, Any] | None:
        """What `write` embedded, or None when there is no provenance of ours. Raises UserError."""
        return clipfiles.read_provenance(path)

    def _fps(self, sample: Sample) -> Fraction:
        return sample.fps or self.fps

    def _cover(self, picture: Picture) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Scaled to cover the size and cropped in the middle."""
        return covering(picture, self.width, self.height)

    def _frame_mask(self, frames: range, start: int = 0) -> Bool[Tensor, "1 f h w"]:
        """True in these frames, the first one here being `start`."""
        mask = torch.zeros(1, self.frames, self.height, self.width, dtype=torch.bool)
        mask[:, max(frames.start - start, 0) : max(frames.stop - start, 0)] = True
        return mask

    def _part(self, place: str, places: str, start: int) -> Bool[Tensor, "1 f h w"]:
        """What one of several places names in the frames from `start` on: frames or a box."""
        if found := box(place):
            mask = self._frame_mask(range(0))
            mask[:, :, *found] = True
            return mask
        if frames := _FRAMES.fullmatch(place):
            first, dash, last = frames.groups()
            end = int(last or first) + 1 if last or not dash else max(start + self.frames, int(first) + 1)
            if int(first) < end:
                return self._frame_mask(range(int(first), end), start)
        raise UserError(
            f"places {places!r}: got {place!r}, expected frames such as 0 or 0-3, or a box of pixels "
            "WIDTHxHEIGHT+LEFT+TOP, such as 16x32+0+0; a minus before all keeps what is outside"
        )


def _channels_first(frames: UInt8[np.ndarray, "f h w 3"]) -> UInt8[Tensor, "3 f h w"]:
    return torch.from_numpy(frames).permute(3, 0, 1, 2).contiguous()


def _motion(frames: UInt8[Tensor, "f h w 3"], fps: float) -> float:
    """How much moves, in shorter sides a second, seen at a small size; of long clips in some runs of frames.

    A clip of a lower rate shows frames twice and more, so single pairs would often see nothing move.
    """
    pairs = len(frames) - 1
    first = torch.arange(pairs)
    if pairs > _RUNS * _PAIRS:
        starts = torch.linspace(0, pairs - _PAIRS, _RUNS).long()
        first = (starts[:, None] + torch.arange(_PAIRS)).flatten()
    both = torch.stack([frames[first], frames[first + 1]], 1).flatten(0, 1).movedim(-1, 1)
    small = reduced(both.float() / 255, _SIDE).movedim(1, -1).unflatten(0, (-1, 2))
    return float(motion.amount(motion.flows(small), fps).mean())


def _facts(width: int, height: int, frames: int, fps: Fraction, seconds: Fraction) -> dict[str, Any]:
    return {
        "width": width,
        "height": height,
        "frames": frames,
        "fps": str(fps),
        "seconds": round(float(seconds), 3),
    }
