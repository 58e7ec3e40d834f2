"""A reference whose style is taken: a recording that lends its timbre, a picture that lends how it looks."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, Value, either, weighed


class Style(Conditioner):
    """Encodes what a modality measures of the style of a reference by a small network.

    Args:
        features: how many numbers the modality measures, each of about unit variance.
    """

    def __init__(self, name: str, features: int, width: int = 256) -> None:
        super().__init__()
        self.name, self.features = name, features
        self.enter = nn.Linear(features, width)
        self.leave = nn.Linear(width, width)
        self.null = nn.Parameter(torch.randn(width) * 0.1)

    def ids(self, value: Value | None) -> Float[Tensor, " features"]:
        """Returns the measured numbers, zeros for None."""
        if value is None:
            return torch.zeros(self.features)
        assert isinstance(value, Tensor), "a reference is measured by the modality"
        return value.float()

    def forward(self, ids: Float[Tensor, "b features"], present: Bool[Tensor, " b"]) -> Part:
        vector = weighed(self.leave(F.silu(self.enter(ids))))
        return Part(either(present, vector, self.null))
