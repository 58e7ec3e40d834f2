"""One decoded sample, whatever its modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """A sample as people see or hear it, and what is known about it.

    Attributes:
        value: a picture is uint8 [h w 3], sRGB, upright, without alpha; a clip likewise is uint8 [f h w 3]; a
            sound is float32 [c s], of which 1 is full scale.
        columns: metadata, for example `text`.
        sample_rate: of a sound, Hz; 0 for what has none.
        fps: of a clip, frames a second; 0 for what has none.
        file: what the file held, by the names of the modality's facts, where reading reduced it.
    """

    value: Tensor
    columns: Mapping[str, Any] = field(default_factory=dict)
    sample_rate: int = 0
    fps: Fraction = Fraction(0)
    file: Mapping[str, Any] = field(default_factory=dict)
