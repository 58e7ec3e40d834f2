"""What a network is conditioned on, named by the way into the network and not by its source."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Condition(NamedTuple):
    """One row a sample.

    Attributes:
        vector: shifts and scales in every block.
        tokens: attended to, where ``mask`` is True.
    """

    vector: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b n e"]
    mask: Bool[Tensor, "b n"]

    def rows(self, index: Tensor | slice) -> "Condition":
        """Returns the chosen rows."""
        return Condition(*(part[index] for part in self))

    @classmethod
    def join(cls, conditions: "list[Condition]") -> "Condition":
        """Stacks the rows of several conditions of the same run."""
        return Condition(*(torch.cat(parts) for parts in zip(*conditions, strict=True)))
