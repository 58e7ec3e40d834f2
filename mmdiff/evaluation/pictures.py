"""What is measured of pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mmdiff import counter
from mmdiff.evaluation.measure import Kind, Measure, apart, averaged
from mmdiff.metrics import pictures
from mmdiff.metrics.kernel import energy, standardised
from mmdiff.metrics.transport import wasserstein

_LEVEL = 1 / 255  # of 8 bits: what never differs by more between real pictures does not count


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size, with values in [0, 1]."""

    values: Float[Tensor, "n 3 h w"]

    @classmethod
    def of(cls, packed: UInt8[Tensor, "n 3 h w"]) -> "Pictures":
        """From 8 bits."""
        return cls(packed.float() / 255)

    @cached_property
    def moments(self) -> Float[Tensor, "n 9"]:
        """Of the colours."""
        return pictures.colour_moments(self.values)

    @cached_property
    def slope(self) -> Float[Tensor, " n"]:
        """Of the power spectrum."""
        return pictures.spectral_slope(self.values)

    @cached_property
    def pyramid(self) -> list[Tensor]:
        """Details from fine to coarse."""
        return pictures.pyramid(self.values)

    def rolled(self) -> "Pictures":
        """The same, each in the place of the one after it."""
        return Pictures(self.values.roll(1, 0))


def ceilings(twins: Pictures, seed: int) -> dict[str, Pictures]:
    """Flat pictures of the mean colour, and white noise with the mean and spread of each colour channel."""
    mean = twins.values.mean((0, 2, 3), keepdim=True)
    spread = twins.values.std((0, 2, 3), keepdim=True)
    noise = mean + spread * counter.normal(seed, "noise", shape=twins.values.shape)
    return {"flat": Pictures(mean.expand_as(twins.values)), "noise": Pictures(noise.clamp(0, 1))}


def measures(height: int, width: int) -> Sequence[Measure[Pictures]]:
    """All measures of pictures of one size."""
    levels = pictures.pyramid(torch.zeros(1, 3, height, width))
    return [
        Measure("colour moments", "energy, lower is better", Kind.SET, apart(_moments, energy)),
        Measure("mean colour", "of 255, lower is better", Kind.TWIN, averaged(_colours)),
        Measure("slope of the spectrum", "lower is better", Kind.SET, apart(_slopes, wasserstein)),
        *(_patches(number, level.shape[3], level.shape[2]) for number, level in enumerate(levels)),
    ]


def _moments(judged: Pictures, twins: Pictures) -> tuple[Tensor, Tensor]:
    real = twins.moments
    return standardised(judged.moments, real, _LEVEL), standardised(real, real, _LEVEL)


def _colours(judged: Pictures, twins: Pictures) -> Float[Tensor, " n"]:
    return pictures.colour_difference(judged.values, twins.values) * 255


def _slopes(judged: Pictures, twins: Pictures) -> tuple[Tensor, Tensor]:
    return judged.slope, twins.slope


def _patches(number: int, width: int, height: int) -> Measure[Pictures]:
    """The sliced Wasserstein distance of the patches of one level of the pyramid."""

    def features(judged: Pictures, twins: Pictures) -> tuple[Tensor, Tensor]:
        real = twins.pyramid[number]
        return pictures.patches(judged.pyramid[number], real), pictures.patches(real, real)

    distance: Callable[[Tensor, Tensor], float] = lambda x, y: wasserstein(x.flatten(0, 1), y.flatten(0, 1))
    return Measure(
        f"patches at {width}x{height}", "SWD, lower is better", Kind.SET, apart(features, distance)
    )
