"""What every modality is: how a file becomes x0, and x0 a file."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from PIL import Image as Pillow
from torch import Tensor

from mmdiff import files
from mmdiff.modalities.sample import Sample
from mmdiff.recipe import Recipe


@runtime_checkable
class Modality(Protocol):
    """One kind of media at one size; all are frozen dataclasses whose defaults are usable.

    Attributes:
        name: for example image.
        noun: what people call its samples, for example pictures.
        extents: what its size is measured in, such as the options `--frames` and `--size`; the first one
            makes a sample longer, where it has a length.
        plays: what of HTML plays its files, audio or video; "" for what is only looked at.
        suffix: of the files that are written when nothing else is asked for.
        suffixes: of the files that can be read, lower case with the dot.
        formats: kinds of files that can be written, without the dot; frames is a folder of numbered pictures.
        whitens: whether x0 is whitened channel by channel by what a run measures on its data.
        measures: the names of its facts, which conditions can be where no metadata says them.
        styles: how many numbers `style` measures.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    extents: ClassVar[tuple[str, ...]]
    plays: ClassVar[str]
    suffix: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    formats: ClassVar[tuple[str, ...]]
    whitens: ClassVar[bool]
    measures: ClassVar[frozenset[str]]
    styles: ClassVar[int]

    @classmethod
    def of(cls, recipe: Recipe) -> "Modality":
        """The modality at the size that a recipe gives. Raises UserError that names the key."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x0: channels, then the axes that the network runs along."""

    @property
    def size(self) -> str:
        """The size as text, which `sized` takes: 32x32 or 1.5s."""

    @property
    def seconds_per_position(self) -> float | None:
        """How far apart two positions of the last axis are in time; None where that axis is not time."""

    def sized(self, size: str) -> "Modality":
        """The same at another size. Raises UserError."""

    def size_with(self, asked: Mapping[str, Any]) -> str:
        """The size, as text, with the `extents` that are asked for changed. Raises UserError."""

    def read(self, data: bytes, name: str = ...) -> Sample:
        """The sample in the bytes of a file, as it is. Raises BadFile."""

    def facts(self, sample: Sample) -> Mapping[str, Any]:
        """What the audit says of a sample: all of `measures`."""

    def pack(self, sample: Sample) -> Tensor:
        """What caches hold: the sample in as few bytes as it can be kept, whole."""

    def window(self, packed: Tensor, place: float) -> tuple[Tensor, Tensor | None]:
        """What one training step sees of a packed sample, always of the same shape.

        Args:
            packed: of any length.
            place: from 0 to below 1, which of the windows that fit.

        Returns:
            The window, and where its x0 is sample and not padding, 1 or 0 as `[1 *axes]`; None: everywhere.
        """

    def style(self, packed: Tensor) -> Tensor:
        """What a packed sample lends as a reference: `styles` numbers of about unit variance."""

    def kept(self, places: str, packed: Tensor, begins: int = 0) -> Tensor:
        """Which positions of x0 are those of a packed sample, as booleans `[1 *axes]`.

        Args:
            places: the parts of x0 that are kept; "" for all that the sample has.
            packed: of any length.
            begins: places of its time that come before it, as `begins` says.

        Raises:
            UserError: places that cannot be read; says how they are written.
        """

    def begins(self, start: str) -> int:
        """How many places of a packed sample's time, its second axis, come before a start that people write.

        Raises:
            UserError: a start that cannot be read or is behind the end; samples without time.
        """

    def unpack(self, packed: Tensor) -> Tensor:
        """x0 of windows, one or a batch, before any whitening."""

    def decode(self, x0: Tensor) -> Sample:
        """The sample that x0 without whitening stands for. Raises ValueError where x0 is not finite."""

    def preview(self, sample: Sample) -> Pillow.Image:
        """A picture of the sample."""

    def to_bytes(
        self, sample: Sample, suffix: str = ..., provenance: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes of a file of that kind, with its provenance inside. Raises UserError."""

    def write(
        self,
        sample: Sample,
        path: str | Path | io.BufferedIOBase,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes a file of the kind that its extension says, whole or not at all."""

    @staticmethod
    def read_provenance(path: str | Path | bytes) -> dict[str, Any] | None:
        """What `write` embedded, or None when there is no provenance of ours. Raises UserError."""


@runtime_checkable
class Heard(Protocol):
    """What a modality offers beside the rest if its samples are sounds: they lend their loudness."""

    @property
    def samples(self) -> int:
        """Of a window, in each channel."""

    @property
    def lossless(self) -> bool:
        """Whether sounds come back from x0 as they were, to at least 120 dB."""

    @property
    def gains(self) -> Tensor:
        """How strongly each channel of x0 counts when it is whitened, of mean square 1."""

    def slowed(self, packed: Tensor, old: int, new: int) -> Tensor:
        """A packed sound with ``new`` samples for every ``old``, lower by as much, cut to its length."""

    def inside(self, places: str, packed: Tensor, begins: int = 0) -> Tensor:
        """As `kept`, of the samples themselves, `[s]`."""

    def decode_beside(self, x0: Tensor, kept: Sequence[tuple[Tensor, Tensor]]) -> Sample:
        """As `decode`, with what is kept of packed sounds as it was; each after where it is `inside`."""

    def envelope(self, window: Tensor) -> Tensor:
        """How loud a window is at each position, 0 to 1, `[1 *axes]`."""


@runtime_checkable
class Moving(Protocol):
    """What a modality offers beside the rest if its samples are frames: long ones are made window by window.

    Frames are the second axis of x0 and of what is packed, and the first one of a sample.
    """

    @property
    def frames(self) -> int:
        """Of a sample."""

    def moves(self, packed: Tensor) -> bool:
        """Whether a packed sample moves; else a window shows one picture as often as it has frames."""

    def kept_from(
        self, start: int, places: str, packed: Tensor, begins: int = 0, still: bool = False
    ) -> Tensor:
        """As `kept`, of the window that begins at a frame of a longer sample, of which all else is.

        Where it is `still`, a picture stands in whatever frames are named.
        """


def heard(modality: Modality) -> Heard:
    """The modality as one whose samples are heard; a recipe that asks this of another was refused."""
    assert isinstance(modality, Heard)
    return modality


def write(
    modality: Modality,
    sample: Sample,
    path: str | Path | io.BufferedIOBase,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a file of the kind that its extension says, whole or not at all.

    A stream gets the kind of file that is written when nothing else is asked for.
    """
    if isinstance(path, str | Path):
        files.write_bytes(path, modality.to_bytes(sample, Path(path).suffix, provenance))
    else:
        path.write(modality.to_bytes(sample, modality.suffix, provenance))
