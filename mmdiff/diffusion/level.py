"""The noise level, the one noun of the core.

A noisy sample is ``x = alpha * x0 + sigma * eps``.  Only the ratio of the pair carries information: x, alpha
and sigma times any number are the same sample in another frame.  Schedules that preserve variance, let it
explode or flow straight differ in the frame; what depends on ``rho = sigma / alpha`` serves them all.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


def spread(value: Float[Tensor, "*b"], x: Tensor) -> Tensor:
    """``value`` (one number for all samples, or one per sample) shaped and cast to multiply ``x``."""
    return value.to(x).reshape(-1, *[1] * (x.ndim - 1)) if value.ndim else value.to(x)


class NoiseLevel(NamedTuple):
    """How much data and how much noise: one level (0-dim), a sequence of levels, or one per sample.

    Kept in float64, because what is computed from it cancels; it is cast when it meets ``x``.  Both ends are
    exact: ``sigma = 0`` is data and ``alpha = 0`` is pure noise.
    """

    alpha: Tensor
    sigma: Tensor

    @property
    def rho(self) -> Tensor:
        """``sigma / alpha``: 0 for data, inf for pure noise; what EDM calls sigma."""
        return self.sigma / self.alpha

    @property
    def logsnr(self) -> Tensor:
        """``log(alpha^2 / sigma^2)``: inf for data, -inf for pure noise."""
        return 2 * (self.alpha.log() - self.sigma.log())

    def angle(self, sigma_data: float = 1.0) -> Tensor:
        """The bounded noise coordinate, 0 for data and pi/2 for pure noise."""
        return torch.atan2(self.sigma, self.alpha * sigma_data)

    def mix(self, x0: Tensor, eps: Tensor) -> Tensor:
        """The noisy sample ``x`` of data ``x0`` and noise ``eps``."""
        return torch.addcmul(spread(self.alpha, x0) * x0, spread(self.sigma, x0), eps)

    def at(self, i: int) -> "NoiseLevel":
        return NoiseLevel(self.alpha[i], self.sigma[i])

    def expand(self, b: int) -> "NoiseLevel":
        return NoiseLevel(self.alpha.expand(b), self.sigma.expand(b))
