"""A number in a known range, such as a MIDI pitch, a loudness or a length in seconds."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either
from mmdiff.errors import UserError

FEATURES = 32  # cosines and sines


class Number(Conditioner):
    """Encodes a number by Fourier features of its place in the range, and a small network.

    The slowest wave takes twice the range for a period, the fastest four units (a quarter of the range where
    that is less): neighbouring semitones are as far apart as they can be, and far ones are not confused.

    Args:
        low: the smallest value.
        high: the largest.
    """

    frequencies: Tensor

    def __init__(self, name: str, low: float, high: float, width: int = 256) -> None:
        super().__init__()
        self.name, self.low, self.high = name, low, high
        fastest = max(4.0, (high - low) / 4)  # periods over the range
        powers = torch.linspace(math.log(0.5), math.log(fastest), FEATURES // 2)
        self.register_buffer("frequencies", 2 * math.pi * powers.exp(), persistent=False)
        self.enter = nn.Linear(1 + FEATURES, width)
        self.leave = nn.Linear(width, width)
        self.null = nn.Parameter(torch.randn(width) * 0.1)

    def ids(self, value: str | None) -> Float[Tensor, ""]:
        """Returns the place of the number in its range, 0 to 1; 0 for None.

        Raises:
            UserError: it is not a number, or lies outside.
        """
        if value is None:
            return torch.tensor(0.0)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self.low <= number <= self.high:
            wanted = f"a number from {self.low:g} to {self.high:g}"
            raise UserError(f"condition {self.name!r}: got {value!r}, expected {wanted}")
        return torch.tensor((number - self.low) / (self.high - self.low))

    def forward(self, ids: Float[Tensor, " b"], present: Bool[Tensor, " b"]) -> Part:
        phase = ids[:, None] * self.frequencies
        waves = torch.cat([phase.cos(), phase.sin()], 1) * math.sqrt(2.0)
        vector = self.leave(F.silu(self.enter(torch.cat([2 * ids[:, None] - 1, waves], 1))))
        return Part(either(present, vector, self.null))
