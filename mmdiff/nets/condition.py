"""What a network is conditioned on, named by the way into the network and not by its source."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Given(NamedTuple):
    """The places of a sample that are known: a first frame, a beginning, what surrounds a hole.

    Attributes:
        mask: where.
        values: clean data there; anything elsewhere.
    """

    mask: Bool[Tensor, "b 1 *axes"]
    values: Float[Tensor, "b c *axes"]

    def put(self, x: Float[Tensor, "b c *axes"]) -> Float[Tensor, "b c *axes"]:
        """``x`` with the known values in their places."""
        return torch.where(self.mask, self.values.to(x), x)


class Condition(NamedTuple):
    """One row a sample.

    Attributes:
        vector: shifts and scales in every block.
        tokens: attended to, where ``mask`` is True.
        given: what is known of each sample; None where nothing is of any.
        moving: of clips, which are such; the frames of others are pictures that have nothing to do with each
            other. None where all are.
        beside: channels that run along with the samples: that mask, an envelope; None where all are zero.
        apart: of clips, seconds from one frame to the next; None where all have those of the net.
    """

    vector: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b n e"]
    mask: Bool[Tensor, "b n"]
    given: Given | None = None
    beside: Float[Tensor, "b e *axes"] | None = None
    moving: Bool[Tensor, " b"] | None = None
    apart: Float[Tensor, " b"] | None = None

    def frames(self, count: int) -> "Condition":
        """Returns every row ``count`` times, for the frames of clips, without what runs beside samples."""
        vector, tokens, mask = (part.repeat_interleave(count, 0) for part in self[:3])
        return Condition(vector, tokens, mask)

    def rows(self, index: Tensor | slice) -> "Condition":
        """Returns the chosen rows."""
        given = None if self.given is None else Given(*(part[index] for part in self.given))
        others = (None if part is None else part[index] for part in (self.beside, self.moving, self.apart))
        return Condition(self.vector[index], self.tokens[index], self.mask[index], given, *others)

    @classmethod
    def join(cls, conditions: "Sequence[Condition]") -> "Condition":
        """Stacks the rows of several conditions of the same run that have nothing along with the sample."""
        vectors, tokens, masks, *_ = zip(*conditions, strict=True)
        return Condition(torch.cat(vectors), torch.cat(tokens), torch.cat(masks))
