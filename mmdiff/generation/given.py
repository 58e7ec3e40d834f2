"""What a sample is made from, beside words: files of which parts are kept, or of which one is varied."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmdiff import files
from mmdiff.errors import UserError
from mmdiff.generation.asked import file_bytes
from mmdiff.modalities import Heard, Modality, Moving

FORM = "FILE[:START][@PLACES][~STRENGTH]"


@dataclass(frozen=True)
class Given:
    """A file, and what of it is kept.

    Attributes:
        file: as it was written.
        places: which parts of the sample are kept, in the words of the modality; "" for all that the file
            has, or for nothing where the sample is varied.
        strength: how much of what is not kept is made anew, above 0 to 1; at 1 it starts from noise alone.
            None where the file is not varied.
        start: when the file begins in the sample, in the words of the modality; "" for where the sample does.
        sha256: of the file when the sample was made; None before.
    """

    file: str
    places: str = ""
    strength: float | None = None
    start: str = ""
    sha256: str | None = None

    @classmethod
    def parse(cls, spec: str) -> "Given":
        """Reads ``FILE[:START][@PLACES][~STRENGTH]``; a file that is called so is taken as it is.

        Raises:
            UserError: no such file, or a strength that is none.
        """
        ends = [len(spec), *(end for end in range(len(spec) - 1, 0, -1) if spec[end] in ":@~")]
        file = next((spec[:end] for end in ends if files.there(spec[:end])), None)
        if file is None:
            raise UserError(f"--given {spec}: no such file: {spec[: ends[-1]]}; expected {FORM}")
        found = re.fullmatch(r"(?::([^@~]+))?(?:@([^~]+))?(?:~(.+))?", spec[len(file) :])
        if found is None:
            raise UserError(f"--given {spec}: got {spec[len(file) :]!r} after the file; expected {FORM}")
        start, places, strength = found.groups()
        if start and strength is not None:
            raise UserError(f"--given {spec}: what is varied begins where the sample does; got :{start}")
        return cls(file, places or "", None if strength is None else _strength(strength, spec), start or "")

    @staticmethod
    def is_told(told: Any) -> bool:
        """Whether JSON could come from ``describe``."""
        text, number, none = str, float, type(None)
        kinds: dict[str, Any] = {
            "file": text,
            "places": text,
            "strength": (number, none),
            "start": text,
            "sha256": text,
        }
        return (
            isinstance(told, dict)
            and set(told) == set(kinds)
            and all(isinstance(told[name], kind) for name, kind in kinds.items())
        )

    def describe(self) -> dict[str, Any]:
        """For the provenance: the attributes by name."""
        return asdict(self)

    @classmethod
    def told(cls, provenance: Sequence[Mapping[str, Any]]) -> "list[Given]":
        """What a checked provenance tells of."""
        return [cls(**one) for one in provenance]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of one sample, as the network works on it.

    Attributes:
        x0: of the file.
        mask: where it is kept.
        varied: whether the other places start from it too.
    """

    x0: Float[Tensor, "c *axes"]
    mask: Bool[Tensor, "1 *axes"]
    varied: bool

    def begin(self) -> Tensor:
        """The x0 that the sample starts from, zero where it starts from noise alone."""
        return self.x0 if self.varied else torch.where(self.mask, self.x0, 0.0)

    def keep(self, x0: Float[Tensor, "c *axes"]) -> Float[Tensor, "c *axes"]:
        """``x0`` with the known places as they are known."""
        return torch.where(self.mask.to(x0.device), self.x0.to(x0), x0)


@dataclass(frozen=True, eq=False)
class Source:
    """A file that samples are made from, read.

    Attributes:
        given: with the hash of the file.
        packed: the whole of it, by the modality of the samples.
        begins: how many places of the samples' time come before it.
        still: whether it is a picture among clips, which stands in whatever frames are named.
    """

    given: Given
    packed: Tensor
    begins: int = 0
    still: bool = False

    @property
    def varied(self) -> bool:
        """Whether what is not kept starts from the file too."""
        return self.given.strength is not None

    @property
    def keeps(self) -> bool:
        """Whether anything stays as it is in the file."""
        return not self.varied or bool(self.given.places)

    def mask(self, modality: Modality, start: int = 0) -> Bool[Tensor, "1 *axes"]:
        """Where it is kept in a sample, or in the window of one that begins at a frame."""
        if isinstance(modality, Moving):
            mask = modality.kept_from(start, self.given.places, self.packed, self.begins, self.still)
        else:
            mask = modality.kept(self.given.places, self.packed, self.begins)
        return mask if self.keeps else torch.zeros_like(mask)

    def x0(self, modality: Modality, start: int = 0) -> Float[Tensor, "c *axes"]:
        """What it says of a sample or such a window, before any whitening; beside it, padding."""
        return modality.unpack(modality.window(self.placed(modality, start), 0.0)[0])

    def placed(self, modality: Modality, start: int = 0) -> Tensor:
        """The file, packed, from where a sample or such a window begins; zeros before it."""
        packed, ahead = self.packed, self.begins - start
        if self.still:
            return packed
        if isinstance(modality, Moving):
            ahead, packed = min(ahead, modality.frames), packed[:, : max(1, modality.frames - ahead)]
        if ahead <= 0:
            return packed[:, min(-ahead, packed.shape[1] - 1) :]
        return torch.cat([packed.new_zeros(len(packed), ahead, *packed.shape[2:]), packed], 1)


def opened(given: Given, modality: Modality) -> Source:
    """Reads a file for samples at the size of ``modality``.

    Raises:
        UserError: the file cannot be read or has changed, or begins behind the end of the sample.
    """
    data, sha256 = file_bytes(given.file, "--given", given.sha256)
    sample = modality.read(data, given.file)
    packed, still = modality.pack(sample), False
    begins = modality.begins(given.start) if given.start else 0
    if isinstance(modality, Moving):
        still = not modality.moves(packed) and sample.file.get("frames") == 1  # no film cut to one frame
        if given.start and given.places and still:
            got = f"got :{given.start} and @{given.places} of a picture"
            raise UserError(f"--given {given.file}: {got}, which stands in the frames that are named")
        packed = packed[:, : modality.frames - begins]
    if isinstance(modality, Heard):
        packed = packed[:, : modality.samples - begins]
    return Source(replace(given, sha256=sha256), packed, begins, still)


def _strength(text: str, spec: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = 0.0
    if not 0 < strength <= 1:
        raise UserError(f"--given {spec}: got the strength {text!r}, expected a number above 0, at most 1")
    return strength
