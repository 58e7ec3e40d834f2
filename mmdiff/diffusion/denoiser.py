"""The denoiser: a network and its target as an estimate of x0, all that samplers and guidance see."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mmdiff.diffusion.level import NoiseLevel
from mmdiff.diffusion.targets import TARGETS, Pair, solve
from mmdiff.diffusion.weights import Weight

Samples = Float[Tensor, "b c *axes"]
Each = Float[Tensor, " b"]
Mask = Float[Tensor, "b 1 *axes"] | None  # 1 where a sample holds data, 0 where it is padded


class Denoiser(nn.Module):
    """``(x, level, condition) -> x0`` from a network ``(x, angle, condition, valid) -> F``.

    The network sees ``x`` at unit variance, for data of spread ``sigma_data``, and the noise as a float32
    angle in [0, pi/2].  It knows no schedule, so the schedule may change after training.
    """

    def __init__(self, net: nn.Module, target: str = "flow", sigma_data: float = 0.5) -> None:
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"target is {target!r}; expected one of {', '.join(TARGETS)}")
        if not sigma_data > 0:
            raise ValueError(f"sigma_data is {sigma_data}; expected a positive number")
        self.net, self.target, self.sigma_data = net, target, sigma_data

    def forward(self, x: Samples, level: NoiseLevel, condition: Any = None, valid: Mask = None) -> Samples:
        """The estimate of x0, in the dtype of ``x``; at sigma = 0 it is ``x`` itself."""
        return self.estimate(x, self.coefficients(level.expand(len(x))), condition, valid)

    def coefficients(self, level: NoiseLevel) -> Float[Tensor, "*b 4"]:
        """What ``estimate`` takes of a level: scale to unit variance, angle, skip and out of ``solve``."""
        scale = torch.hypot(level.alpha * self.sigma_data, level.sigma).reciprocal()
        gains = solve(level, *self.mixture(level))
        return torch.stack([scale, level.angle(self.sigma_data), *gains], -1)

    def estimate(self, x: Samples, known: Tensor, condition: Any = None, valid: Mask = None) -> Samples:
        """``forward`` at levels whose coefficients are known already."""
        scale, _, skip, out = known.to(x)[(...,) + (None,) * (x.ndim - 1)].unbind(1)
        return skip * x + out * self.predict(scale * x, known, condition, valid)

    def loss(
        self,
        x0: Samples,
        eps: Samples,
        level: NoiseLevel,
        condition: Any,
        weight: Weight,
        valid: Mask = None,
        counts: Mask = None,
    ) -> Each:
        """``weight(level) * |estimate - x0|^2``, the mean over each sample, or of it where ``counts``.

        Realised in the network's output space, where numbers stay bounded.  At sigma = 0 there is no error.
        """
        mixture, known = NoiseLevel(*self.mixture(level)), self.coefficients(level)
        factor = torch.where(level.sigma > 0, weight(level) * known[:, 3] ** 2, 0.0).to(x0)
        scaled = NoiseLevel(*(known[:, 0] * part for part in level))
        predicted = self.predict(scaled.mix(x0, eps), known, condition, valid)
        square = F.mse_loss(predicted, mixture.mix(x0, eps), reduction="none").mean(1, keepdim=True)
        held = torch.ones_like(square) if counts is None else counts.to(square)
        return factor * (square * held).flatten(1).sum(1) / held.flatten(1).sum(1)

    def predict(self, x: Tensor, known: Tensor, condition: Any, valid: Mask = None) -> Tensor:
        return self.net(x, known[:, 1].float(), condition, valid).to(x.dtype)

    def mixture(self, level: NoiseLevel) -> Pair:
        """``(p, q)``: what F holds of x0 and of eps."""
        return TARGETS[self.target](level, self.sigma_data)

    def check(self, levels: NoiseLevel) -> None:
        """Raises ValueError if the target says nothing about x0 at one of the levels, as eps at alpha = 0."""
        skip, out = solve(levels, *self.mixture(levels))
        gain = torch.maximum(skip.abs() * torch.hypot(*levels), out.abs())
        # beyond this gain the rounding of a float32 state is larger than the data
        bad = (levels.sigma > 0) & ~(gain < 1 / torch.finfo(torch.float32).eps)
        if bad.any():
            alpha, sigma = (float(part[bad][0]) for part in levels)
            raise ValueError(
                f"target {self.target!r} cannot give x0 at alpha = {alpha:g}, sigma = {sigma:g}: "
                "use another target, or a grid that starts below pure noise"
            )
