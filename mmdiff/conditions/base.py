"""What every conditioner is, and what it gives to the network."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Value = str | Tensor  # of a condition: as people write it, or what a modality measured of a reference


class Part(NamedTuple):
    """One conditioner's share of a ``Condition``; without tokens, ``tokens`` and ``mask`` are None."""

    vector: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b n d"] | None = None
    mask: Bool[Tensor, "b n"] | None = None


class Conditioner(nn.Module, ABC):
    """From one kind of raw value to its part of the condition.

    Attributes:
        token_width: of the tokens it gives, 0 when it gives none.
    """

    token_width: int = 0

    @abstractmethod
    def ids(self, value: Any) -> Tensor:
        """Returns one sample's value (a `Value` of its kind) as numbers of a fixed shape; zeros for None."""

    @abstractmethod
    def forward(self, ids: Tensor, present: Bool[Tensor, " b"]) -> Part:
        """Encodes a batch of ids; where ``present`` is False the learned null stands in."""


def either(present: Bool[Tensor, " b"], given: Tensor, null: Tensor) -> Tensor:
    """Takes ``given`` for the rows that are present and ``null`` elsewhere, by arithmetic.

    No module is skipped, so every parameter gets a gradient on every rank (distributed training waits for
    each).
    """
    share = present.to(given.dtype).reshape(-1, *(1,) * (given.ndim - 1))
    return share * given + (1 - share) * null


def weighed(vector: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """The vector as long as that of a new label: conditions are added, and a shorter one is hardly heard."""
    return F.layer_norm(vector, vector.shape[1:])
