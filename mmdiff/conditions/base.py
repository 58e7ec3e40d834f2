"""What every conditioner gives to the network."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class Part(NamedTuple):
    """One conditioner's share of a ``Condition``; ``tokens`` and ``mask`` are None when it has only a vector."""

    vector: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b n d"] | None = None
    mask: Bool[Tensor, "b n"] | None = None


def either(present: Bool[Tensor, " b"], given: Tensor, null: Tensor) -> Tensor:
    """Takes ``given`` for the rows that are present and ``null`` elsewhere, by arithmetic.

    No module is skipped, so every parameter gets a gradient on every rank (distributed training waits for each).
    """
    share = present.to(given.dtype).reshape(-1, *(1,) * (given.ndim - 1))
    return share * given + (1 - share) * null
