"""One decoded sample, whatever its modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """A sample as people see or hear it, and what is known about it.

    Attributes:
        value: a picture is uint8 [h w 3], sRGB, upright, without alpha; a sound is float32 [c s], of which 1
            is full scale.
        columns: metadata, for example `text`.
        sample_rate: of a sound, Hz; 0 for what has none.
    """

    value: Tensor
    columns: Mapping[str, Any] = field(default_factory=dict)
    sample_rate: int = 0
