"""Embeddings of the noise level."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Angle(nn.Module):
    """Fourier features of the noise angle ``atan2(sigma, alpha * sigma_data)``, finite at both ends of the noise.

    The angle lies in [0, pi/2]; frequencies are spread geometrically from 1 to 64, so that features resolve about 1/100
    of the range and no more: higher ones made neighbouring levels look unrelated.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        powers = torch.linspace(0, math.log(64.0), width // 2)
        self.register_buffer("frequencies", powers.exp(), persistent=False)

    def forward(self, angle: Float[Tensor, " b"]) -> Float[Tensor, "b d"]:
        phase = angle[:, None].float() * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=1) * math.sqrt(2.0)
