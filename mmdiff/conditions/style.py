"""A reference whose style is taken: a recording that lends its timbre, a picture that lends how it looks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, Value, either, weighed


class Style(Conditioner):
    """Encodes what a modality measures of the style of a reference by a small network.

    The network is an odd function of numbers that are about zero on average, so references cannot all be
    encoded alike. With offsets, or numbers that are all positive, they were, to a cosine of 0.97, and the
    net learned to hear none of them.

    Args:
        features: how many numbers the modality measures.

    Attributes:
        mean: of each number on the data, which belongs to the weights; training measures it before its start.
        std: likewise, the deviation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, features: int, width: int = 256) -> None:
        super().__init__()
        self.name, self.features = name, features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.enter = nn.Linear(features, width, bias=False)
        self.leave = nn.Linear(width, width, bias=False)
        self.null = nn.Parameter(torch.randn(width) * 0.1)

    def ids(self, value: Value | None) -> Float[Tensor, " features"]:
        """Returns the measured numbers, zeros for None."""
        if value is None:
            return torch.zeros(self.features)
        assert isinstance(value, Tensor), "a reference is measured by the modality"
        return value.float()

    def forward(self, ids: Float[Tensor, "b features"], present: Bool[Tensor, " b"]) -> Part:
        vector = weighed(self.leave(self.enter((ids - self.mean) / self.std).tanh()))
        return Part(either(present, vector, self.null))
