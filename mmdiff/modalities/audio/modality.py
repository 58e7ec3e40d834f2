"""Sound: files to waves of one sample rate and channel count and back, and to x0, a kind of spectrogram."""

import dataclasses
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from PIL import Image as Pillow
from torch import Tensor

from mmdiff.data import soundfiles, sounds
from mmdiff.data.scan import SOUNDS
from mmdiff.errors import UserError
from mmdiff.modalities import base
from mmdiff.modalities.audio import ear, timbre
from mmdiff.modalities.audio.levels import POLICIES, levelled
from mmdiff.modalities.audio.mixing import mapped, resampled
from mmdiff.modalities.audio.nearest import nearest
from mmdiff.modalities.audio.picture import spectrogram
from mmdiff.modalities.audio.spectra import Beside, Representation, representation
from mmdiff.modalities.sample import Sample
from mmdiff.naming import suggestion
from mmdiff.recipe import Recipe

_PICTURE = (128, 256)  # pixels of a preview: height, and width at most
_SECONDS = r"\d+\.?\d*|\.\d+"


@dataclass(frozen=True)
class Audio:
    """Sounds of one length; longer ones are seen through a window, shorter ones end in padding.

    Attributes:
        sample_rate: Hz; other rates are converted.
        channels: other counts are mixed to one by their mean and copied.
        seconds: of a window and of what is drawn, rounded to whole samples.
        spectrum: the representation that x0 is, such as "mdct(bins=256)".
        level: how loud samples come out, one of `mmdiff.modalities.audio.levels.POLICIES`.
    """

    sample_rate: int = 16_000
    channels: int = 1
    seconds: float = 1.0
    spectrum: str = "mdct"
    level: str = "none"

    name: ClassVar[str] = "audio"
    noun: ClassVar[str] = "sounds"
    extents: ClassVar[tuple[str, ...]] = ("seconds",)
    plays: ClassVar[str] = "audio"
    suffix: ClassVar[str] = ".wav"
    suffixes: ClassVar[frozenset[str]] = SOUNDS
    formats: ClassVar[tuple[str, ...]] = ("wav", "flac", "ogg", "mp3")
    whitens: ClassVar[bool] = True
    measures: ClassVar[frozenset[str]] = frozenset({"seconds", "sample_rate", "channels"})
    styles: ClassVar[int] = timbre.FEATURES

    def __post_init__(self) -> None:
        if self.sample_rate < 1 or self.channels < 1:
            raise UserError(
                f"sound of {self.sample_rate} Hz and {self.channels} channels: expected at least 1 of each"
            )
        if not math.isfinite(self.seconds) or self.samples < 1:
            least = 1 / self.sample_rate
            raise UserError(f"size {self.seconds}s: expected a sound of at least one sample, {least:g}s")
        if self.level not in POLICIES:
            raise UserError(f"unknown level policy {self.level!r}{suggestion(self.level, POLICIES)}")

    @classmethod
    def of(cls, recipe: Recipe) -> "Audio":
        """The modality that a recipe gives.

        Raises:
            UserError: a key of `data` that cannot be used; names it.
        """
        data = recipe.data
        if data.flip:
            raise UserError("data.flip: got true for audio, expected false: only pictures are mirrored")
        if round(data.seconds * data.sample_rate) < 1:
            raise UserError(
                f"data.seconds: got {data.seconds}, expected at least one sample at {data.sample_rate} Hz"
            )
        try:
            representation(data.representation, data.sample_rate)
        except UserError as error:
            raise UserError(f"data.representation: {error}") from None
        return cls(data.sample_rate, data.channels, data.seconds, data.representation, data.level)

    @property
    def samples(self) -> int:
        """Of a window, in each channel."""
        return round(self.seconds * self.sample_rate)

    @cached_property
    def coder(self) -> Representation:
        """Waves to coefficients and back."""
        return representation(self.spectrum, self.sample_rate)

    @property
    def shape(self) -> tuple[int, int]:
        """Of x0: frequency bins of all channels, frames."""
        return self.coder.channels(self.channels), self.coder.frames(self.samples)

    @property
    def size(self) -> str:
        """The length, such as 1.5s."""
        return f"{float(self.seconds)!r}s"

    @property
    def seconds_per_position(self) -> float:
        """Of a frame."""
        return self.coder.seconds_per_frame

    def sized(self, size: str) -> "Audio":
        """The same for sounds of another length.

        Args:
            size: seconds, such as "1.5s".
        """
        try:
            seconds = float(size.removesuffix("s"))
        except ValueError:
            seconds = math.nan
        if not size.endswith("s") or not 0 < seconds < math.inf:
            raise UserError(f"size {size!r}: expected seconds, such as 1.5s")
        return dataclasses.replace(self, seconds=seconds)

    def size_with(self, asked: Mapping[str, Any]) -> str:
        """The seconds that are asked for."""
        return f"{asked['seconds']!r}s" if "seconds" in asked else self.size

    def read(self, data: bytes, name: str = "sound") -> Sample:
        """The sound in the bytes of a file, as it is. Raises BadFile for whatever is wrong."""
        sound = sounds.decoded(data, name)
        return Sample(torch.from_numpy(sound.wave), sample_rate=sound.sample_rate)

    def facts(self, sample: Sample) -> dict[str, float]:
        """What the audit says of a sample."""
        channels, samples = sample.value.shape
        rate = self._rate(sample)
        return {"seconds": round(samples / rate, 3), "sample_rate": rate, "channels": channels}

    def pack(self, sample: Sample) -> Float[Tensor, "c s"]:
        """The whole sound at this modality's sample rate and with its channels."""
        return resampled(mapped(sample.value, self.channels), self._rate(sample), self.sample_rate)

    def window(
        self, packed: Float[Tensor, "c s"], place: float
    ) -> tuple[Float[Tensor, "c s2"], Float[Tensor, "1 l"] | None]:
        """A part of `seconds`, from a sample on that `place` decides, or all of it with zeros at its end."""
        spare = packed.shape[-1] - self.samples
        if spare >= 0:
            start = int(place * (spare + 1))
            return packed[:, start : start + self.samples], None
        frames = torch.arange(self.shape[1]) < self.coder.frames(packed.shape[-1])
        return F.pad(packed, (0, -spare)), None if bool(frames.all()) else frames[None].float()

    def kept(self, places: str, packed: Float[Tensor, "c s"], begins: int = 0) -> Bool[Tensor, "1 l"]:
        """Which frames hold nothing but what is kept of a sound.

        Args:
            places: seconds from and to, such as "0-0.5", "0.5-" or "0-0.3,0.7-1"; "" for all of the sound.
            packed: the sound.
            begins: samples that come before it.
        """
        return self._frames(self.inside(places, packed, begins))[None]

    def inside(self, places: str, packed: Float[Tensor, "c s"], begins: int = 0) -> Bool[Tensor, " s2"]:
        """Which samples of a window from the start are those of a sound, at places that `kept` knows."""
        inside = torch.zeros(self.samples, dtype=torch.bool)
        for start, end in _ranges(places or "0-"):
            first, last = (round(min(at * self.sample_rate, self.samples)) for at in (start, end))
            inside[first:last] = True
        there = torch.arange(self.samples)
        return inside & (there >= begins) & (there < begins + packed.shape[-1])

    def begins(self, start: str) -> int:
        """How many samples pass in so many seconds, less than a window has."""
        samples = round(float(start) * self.sample_rate) if re.fullmatch(_SECONDS, start) else self.samples
        if samples < self.samples:
            return samples
        raise UserError(f"start {start!r}: expected seconds from 0 on, below {self.seconds:g}")

    def style(self, packed: Float[Tensor, "c s"]) -> Float[Tensor, " d"]:
        """The timbre of a sound of any length, whatever its level."""
        return timbre.timbre(packed.mean(0), self.sample_rate)

    def slowed(self, packed: Float[Tensor, "c s"], old: int, new: int) -> Float[Tensor, "c s"]:
        """The sound with ``new`` samples for every ``old``, lower by as much, cut to its length."""
        return resampled(packed, old, new)[:, : packed.shape[-1]]

    def envelope(self, window: Float[Tensor, "c s"]) -> Float[Tensor, "1 l"]:
        """How loud each frame is, two hops long: 0 for 60 dB below full scale or less, 1 for full scale."""
        power, hop = window.square().mean(0), self.coder.hop
        power = F.pad(power, (hop, hop * self.shape[1] - len(power)))
        mean = power.unfold(0, 2 * hop, hop)[: self.shape[1]].mean(1)
        return (1 + 10 * mean.clamp_min(1e-6).log10() / 60).clamp(0, 1)[None]

    @property
    def lossless(self) -> bool:
        """Whether the representation gives every sample back."""
        return self.coder.lossless

    @property
    def gains(self) -> Float[Tensor, " k"]:
        """How strongly each channel counts when it is whitened: as finely as people hear there."""
        hertz, each = self.coder.hertz, self.coder.channels(1)
        return (torch.ones(each) if hertz is None else ear.gains(hertz)).repeat(self.channels)

    def unpack(self, packed: Float[Tensor, "*b c s"]) -> Float[Tensor, "*b k l"]:
        """Coefficients, as the representation gives them."""
        return self.coder.encode(packed)

    def encode(self, sample: Sample) -> Float[Tensor, "k l"]:
        """Coefficients of the whole sound, however long it is."""
        return self.unpack(self.pack(sample))

    def decode(self, x0: Float[Tensor, "k l"]) -> Sample:
        """The sound of exactly `samples` samples that coefficients stand for, as loud as `level` says.

        Raises:
            ValueError: x0 holds numbers that are not finite, or too large for a sound.
        """
        return self._made(self._wave(x0), self.level)

    def decode_beside(
        self, x0: Float[Tensor, "k l"], kept: Sequence[tuple[Bool[Tensor, " s"], Float[Tensor, "c _"]]]
    ) -> Sample:
        """`decode` with what is kept of sounds sample for sample, whatever their coefficients lose.

        Each fades over to what was made, as far into it as made frames reach: a shorter fade is heard more
        often as a seam. What is kept says how loud all is: of the policies of `level` only `clip` acts.

        Args:
            x0: without whitening.
            kept: where each sound is kept, and that sound from the start of the window on.
        """
        fade, sounds = self.coder.reach[1], list[tuple[Tensor, Tensor]]()
        whole, known = torch.zeros(self.channels, self.samples), torch.zeros(self.shape[1], dtype=torch.bool)
        for inside, packed in kept:
            sound = F.pad(packed, (0, self.samples))[:, : self.samples]
            whole, known = torch.where(inside, sound, whole), known | self._frames(inside)
            sounds.append((inside, sound))
        wave, at = self._wave(x0, whole, known), torch.arange(self.samples)
        for inside, sound in sounds:
            before, after = nearest(~inside, (-fade, self.samples + fade))
            share = (torch.minimum(at - before, after - at) / fade).clamp(max=1)
            wave = torch.lerp(wave, sound, share)
        return self._made(wave, "clip" if self.level == "clip" else "none")

    def _frames(self, inside: Bool[Tensor, " s"]) -> Bool[Tensor, " l"]:
        """Which frames depend on samples inside alone."""
        before, after = self.coder.reach
        lost = F.pad(~inside, (before, self.shape[1] * self.coder.hop + after - self.samples))
        counts = F.pad(lost.cumsum(0), (1, 0))
        starts = torch.arange(self.shape[1]) * self.coder.hop
        return counts[starts + before + after] == counts[starts]

    def _wave(
        self,
        x0: Float[Tensor, "k l"],
        whole: Float[Tensor, "c s"] | None = None,
        known: Bool[Tensor, " l"] | None = None,
    ) -> Float[Tensor, "c s"]:
        """The wave of coefficients, beside that of the frames that are known if there are any."""
        x0 = x0.detach().float().cpu()
        if whole is None or known is None or not isinstance(self.coder, Beside):
            wave = self.coder.decode(x0, self.samples)
        else:
            wave = self.coder.decode_beside(x0, whole, known)
        if not bool(x0.isfinite().all() and wave.isfinite().all()):
            raise ValueError("x0 holds numbers that are not finite, expected the coefficients of a sound")
        return wave

    def _made(self, wave: Float[Tensor, "c s"], level: str) -> Sample:
        return Sample(levelled(wave, self.sample_rate, level), sample_rate=self.sample_rate)

    def preview(self, sample: Sample) -> Pillow.Image:
        """The spectrogram."""
        return spectrogram(sample.value, *_PICTURE)

    def to_bytes(
        self, sample: Sample, suffix: str = ".wav", provenance: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes of a WAV (16 bits), FLAC, Ogg Vorbis or MP3 file; its comment is the provenance."""
        return soundfiles.encoded(sample.value, self._rate(sample), suffix, provenance=provenance)

    def write(
        self,
        sample: Sample,
        path: str | Path | io.BufferedIOBase,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes a file of the kind that its extension says, whole or not at all; a stream gets a WAV."""
        if isinstance(path, str | Path):
            soundfiles.write(sample.value, self._rate(sample), path, provenance=provenance)
        else:
            base.write(self, sample, path, provenance)

    @staticmethod
    def read_provenance(path: str | Path | bytes) -> dict[str, Any] | None:
        """What `write` embedded in a file, or None when there is no provenance of ours. Raises UserError."""
        return soundfiles.read_provenance(path)

    def _rate(self, sample: Sample) -> int:
        return sample.sample_rate or self.sample_rate


def _ranges(places: str) -> Iterator[tuple[float, float]]:
    """The (from, to) in seconds of ``"0-0.3,0.7-"``."""
    for part in places.split(","):
        found = re.fullmatch(rf"\s*({_SECONDS})?-({_SECONDS})?\s*", part)
        start, end = (float(found[1] or 0), float(found[2] or "inf")) if found else (0.0, 0.0)
        if not start < end:
            raise UserError(
                f"places {places!r}: got {part!r}, expected seconds FROM-TO, such as 0-0.5 or 0.5-"
            )
        yield start, end
