"""Embeddings of the noise level and of places."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Angle(nn.Module):
    """Fourier features of the noise angle ``atan2(sigma, alpha * sigma_data)``, finite at both ends.

    The angle lies in [0, pi/2]; frequencies are spread geometrically from 1 to 64, so that features resolve
    about 1/100 of the range and no more: higher ones made neighbouring levels look unrelated.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        powers = torch.linspace(0, math.log(64.0), width // 2)
        self.register_buffer("frequencies", powers.exp(), persistent=False)

    def forward(self, angle: Float[Tensor, " b"]) -> Float[Tensor, "b d"]:
        phase = angle[:, None].float() * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=1) * math.sqrt(2.0)


WAVES = (0.5, 1.0, 2.0)  # periods from one border to the other


class Place(nn.Module):
    """Adds what is known of each place: a common pattern of waves, and one that each embedding draws.

    Convolutions see a place only by its distance to the border, and conditions otherwise act on all places
    alike: with neither, a caption that says "top left" takes many times longer to learn.  Places are shares
    of the size, so patterns stretch with it and padding does not move them.
    """

    def __init__(self, rank: int, width: int, embedding: int) -> None:
        super().__init__()
        count = (1 + 2 * len(WAVES)) ** rank
        self.common = nn.Parameter(torch.randn(width, count) * count**-0.5)
        self.narrow = nn.Linear(embedding, embedding // 4)
        self.drawn = nn.Linear(embedding // 4, width * count, bias=False)
        nn.init.zeros_(self.drawn.weight)

    def forward(
        self, x: Float[Tensor, "b c *axes"], embedding: Float[Tensor, "b d"], sizes: Sequence[int]
    ) -> Float[Tensor, "b c *axes"]:
        """``sizes`` are the positions along each axis that hold data."""
        patterns = waves(x, sizes).to(embedding.dtype)
        shares = self.common + self.drawn(F.silu(self.narrow(embedding))).unflatten(1, self.common.shape)
        return x + (shares @ patterns.flatten(1)).unflatten(2, x.shape[2:]).to(x.dtype)


def waves(x: Float[Tensor, "b c *axes"], sizes: Sequence[int]) -> Float[Tensor, "w *axes"]:
    """Returns the products over all axes of 1, cosines and sines of the share along each."""
    product = torch.ones((1,) + (1,) * len(sizes), device=x.device)
    for axis, size in enumerate(sizes):
        share = (torch.arange(x.shape[2 + axis], device=x.device) + 0.5) / size
        phase = 2 * math.pi * torch.tensor(WAVES, device=x.device)[:, None] * share
        one = torch.cat([torch.ones_like(phase[:1]), phase.cos(), phase.sin()])
        one = one.reshape(len(one), *(-1 if i == axis else 1 for i in range(len(sizes))))
        product = (product[:, None] * one).flatten(0, 1)
    return product
