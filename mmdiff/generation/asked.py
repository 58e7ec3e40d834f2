"""What a sample is asked to be: words and values, and files that lend their style or their envelope."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmdiff import files
from mmdiff.conditions import Value
from mmdiff.errors import UserError
from mmdiff.generation.model import Model
from mmdiff.modalities import Modality, heard
from mmdiff.naming import suggestion
from mmdiff.recipe import ConditionSpec

_POINT = r"\s*\d+\.?\d*:\d+\.?\d*\s*"  # SECONDS:LEVEL
_POINTS = re.compile(f"{_POINT}(,{_POINT})*")


@dataclass(frozen=True, eq=False)
class Asked:
    """The conditions of a sample, as a request holds them.

    Attributes:
        names: of all.
        raw: by name, those that do not run along with the sample.
        curves: what does; None when nothing does.
        sha256: of the files that conditions were measured from, by the name of the condition.
    """

    names: frozenset[str]
    raw: Mapping[str, Value]
    curves: Float[Tensor, "e *axes"] | None
    sha256: Mapping[str, str]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing that guidance could strengthen."""
        return not self.names

    @classmethod
    def of(
        cls,
        raw: Mapping[str, Value],
        aligned: Mapping[str, Float[Tensor, "1 *axes"]],
        model: Model,
        modality: Modality,
        sha256: Mapping[str, str] | None = None,
    ) -> "Asked":
        """What is asked for, where ``aligned`` are the curves by name."""
        names = frozenset([*raw, *aligned])
        return cls(names, raw, _alongside(aligned, model, modality), sha256 or {})


def ask(
    words: Mapping[str, str],
    specs: Mapping[str, ConditionSpec],
    model: Model,
    modality: Modality,
    sha256: Mapping[str, str] | None = None,
) -> Asked:
    """Reads the values of conditions, for samples at the size of ``modality``.

    Args:
        words: values by name, as people write them.
        specs: the run's conditions.
        sha256: that the files among the values must have, by the name of the condition.

    Raises:
        UserError: a condition that the run does not have, or a value that it cannot take.
    """
    for name in words:
        if name not in specs:
            raise UserError(f"unknown condition {name!r}{suggestion(name, specs)}")
    raw, hashes, wanted = dict[str, Value](), dict[str, str](), sha256 or {}
    aligned = dict[str, Tensor]()
    for name, word in words.items():
        kind = specs[name].kind
        if kind == "envelope" and not files.there(word) and _POINTS.fullmatch(word):
            aligned[name] = _drawn(word, modality)
        elif kind in ("style", "envelope"):
            data, hashes[name] = file_bytes(word, f"condition {name!r}", wanted.get(name))
            packed = modality.pack(modality.read(data, word))
            if kind == "style":
                raw[name] = modality.style(packed)
            else:
                aligned[name] = heard(modality).envelope(modality.window(packed, 0.0)[0])
        else:
            raw[name] = word
    model.conditions.ids(raw)  # complains about unknown values
    return Asked.of(raw, aligned, model, modality, hashes)


def file_bytes(path: str, what: str, sha256: str | None = None) -> tuple[bytes, str]:
    """The bytes of a file and their hash.

    Raises:
        UserError: no such file, or one with another hash than it had when a sample was made from it.
    """
    if not files.there(path):
        raise UserError(f"{what}: no such file: {path}")
    data = Path(path).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, found):
        raise UserError(f"{path}: has changed (sha256 {found}); the sample was made with {sha256}")
    return data, found


def _alongside(
    aligned: Mapping[str, Float[Tensor, "1 *axes"]], model: Model, modality: Modality
) -> Float[Tensor, "e *axes"] | None:
    """The channels of what runs along: for each condition its values and ones, or zeros twice.

    None where nothing does.
    """
    if not aligned:
        return None
    zero = torch.zeros(1, *modality.shape[1:])
    pairs = [(aligned[n], torch.ones_like(zero)) if n in aligned else (zero, zero) for n in model.curves]
    return torch.cat([channel for pair in pairs for channel in pair])


def _drawn(points: str, modality: Modality) -> Float[Tensor, "1 l"]:
    """The curve through ``SECONDS:LEVEL, ...``, straight between them and level beyond."""
    at, level = zip(*sorted(tuple(map(float, point.split(":"))) for point in points.split(",")), strict=True)
    if max(level) > 1:
        expected = "expected 0 (60 dB below full scale) to 1 (full scale)"
        raise UserError(f"envelope {points!r}: got the level {max(level):g}, {expected}")
    times = np.arange(modality.shape[-1]) * (modality.seconds_per_position or 0.0)
    return torch.from_numpy(np.interp(times, at, level)).float()[None]
