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
SCALES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # seconds


class Place(nn.Module):
    """Adds what is known of each place: patterns in common shares, and in shares that each embedding draws.

    Convolutions see a place only by its distance to the border, and conditions otherwise act on all places
    alike: with neither, a caption that says "top left" takes many times longer to learn.
    """

    def __init__(self, patterns: int, width: int, embedding: int) -> None:
        super().__init__()
        self.common = nn.Parameter(torch.randn(width, patterns) * patterns**-0.5)
        self.narrow = nn.Linear(embedding, embedding // 4)
        self.drawn = nn.Linear(embedding // 4, width * patterns, bias=False)
        nn.init.zeros_(self.drawn.weight)

    def forward(
        self,
        x: Float[Tensor, "b c *axes"],
        embedding: Float[Tensor, "b d"],
        patterns: Float[Tensor, "#b w *places"],
    ) -> Float[Tensor, "b c *axes"]:
        """``patterns`` are those of ``waves`` or of ``echoes``."""
        flat = patterns.to(embedding.dtype).flatten(2)
        shares = self.common + self.drawn(F.silu(self.narrow(embedding))).unflatten(1, self.common.shape)
        return x + (shares @ flat).unflatten(2, x.shape[2:]).to(x.dtype)


def waves(shape: Sequence[int], sizes: Sequence[int], device: torch.device) -> Float[Tensor, "1 w *axes"]:
    """Returns the products over all axes of 1, cosines and sines of the share along each.

    Places are shares of the size, so patterns stretch with it and padding does not move them.

    Args:
        shape: the positions along each axis.
        sizes: how many of them hold data.
    """
    product = torch.ones((1,) + (1,) * len(sizes), device=device)
    for axis, size in enumerate(sizes):
        share = (torch.arange(shape[axis], device=device) + 0.5) / size
        phase = 2 * math.pi * torch.tensor(WAVES, device=device)[:, None] * share
        one = torch.cat([torch.ones_like(phase[:1]), phase.cos(), phase.sin()])
        one = one.reshape(len(one), *(-1 if i == axis else 1 for i in range(len(sizes))))
        product = (product[:, None] * one).flatten(0, 1)
    return product[None]


def echoes(times: Float[Tensor, "*b l"], ends: Float[Tensor, " b"]) -> Float[Tensor, "b w l"]:
    """Returns 1, and decays on several scales of the time since the start and of the time to the end.

    They place an attack and a release, whether a series takes a fifth of a second or half a minute.

    Args:
        times: seconds from the start to each position, of all series or of each.
        ends: seconds that each series takes.
    """
    scales = torch.tensor(SCALES, device=times.device)[:, None]
    left = (ends[:, None] - times).clamp(min=0)
    since = (-times[..., None, :] / scales).exp().expand(len(ends), -1, -1)
    until = (-left[:, None] / scales).exp()
    return torch.cat([torch.ones_like(until[:, :1]), since, until], 1)


def pattern_count(rank: int, timed: bool) -> int:
    """Returns how many patterns ``waves`` (or, of a timed series, ``echoes``) have."""
    return 1 + 2 * len(SCALES) if timed else (1 + 2 * len(WAVES)) ** rank
