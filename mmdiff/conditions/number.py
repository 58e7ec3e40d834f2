"""A number in a known range, such as a MIDI pitch, a loudness or a length in seconds."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmdiff.conditions.base import Conditioner, Part, either, weighed
from mmdiff.errors import UserError
from mmdiff.naming import said

MOST = 128  # cosines


class Number(Conditioner):
    """Encodes a number by cosines of its place in the range, and a small network.

    The cosines are those of a cosine transform with a term for every unit of the range, which tell any two
    whole numbers apart: neighbouring semitones are as different to the network as two instruments, from its
    first step on.  With waves of four units and longer a short training mixed up pitches a fourth apart.

    Args:
        low: the smallest value.
        high: the largest.
    """

    frequencies: Tensor

    def __init__(self, name: str, low: float, high: float, width: int = 256) -> None:
        super().__init__()
        self.name, self.low, self.high = name, low, high
        terms = min(MOST, max(8, math.ceil(high - low) + 1))
        self.register_buffer("frequencies", math.pi * torch.arange(1, terms), persistent=False)
        self.enter = nn.Linear(terms - 1, width)
        self.leave = nn.Linear(width, width)
        self.null = nn.Parameter(torch.randn(width) * 0.1)

    def ids(self, value: str | None) -> Float[Tensor, ""]:
        """Returns the place of the number, such as 24 or 24000/1001, in its range, 0 to 1; 0 for None.

        Raises:
            UserError: it is not a number, or lies outside.
        """
        if value is None:
            return torch.tensor(0.0)
        number = said(value)
        if not self.low <= number <= self.high:
            wanted = f"a number from {self.low:g} to {self.high:g}"
            raise UserError(f"condition {self.name!r}: got {value!r}, expected {wanted}")
        return torch.tensor((number - self.low) / (self.high - self.low))

    def forward(self, ids: Float[Tensor, " b"], present: Bool[Tensor, " b"]) -> Part:
        waves = (ids[:, None] * self.frequencies).cos() * math.sqrt(2.0)
        vector = weighed(self.leave(F.silu(self.enter(waves))))
        return Part(either(present, vector, self.null))
