"""How finely people hear."""

from jaxtyping import Float
from torch import Tensor


def bandwidth(hertz: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The width in Hz of the band that the ear cannot tell apart at a frequency.

    The equivalent rectangular bandwidth (Glasberg and Moore, 1990, eq. 3).
    """
    return 24.7 * (1 + 4.37e-3 * hertz)


def gains(hertz: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Factors of mean square 1 that make evenly spaced channels count as the ear tells them apart."""
    resolution = 1 / bandwidth(hertz)
    return (resolution / resolution.mean()).sqrt()
