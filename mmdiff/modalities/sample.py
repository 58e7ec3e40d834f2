"""One decoded sample, whatever its modality."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """A sample as people see or hear it, and what is known about it.

    Attributes:
        value: a picture is uint8 [h w 3], sRGB, upright, without alpha.
        columns: metadata, for example `text`.
    """

    value: Tensor
    columns: Mapping[str, Any] = field(default_factory=dict)
