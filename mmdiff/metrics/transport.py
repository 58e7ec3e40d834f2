"""How far one distribution has to be moved to become another: Wasserstein distances on the line."""

import torch
from jaxtyping import Float
from torch import Tensor


def wasserstein(x: Float[Tensor, "n *k"], y: Float[Tensor, "m *j"]) -> float:
    """The mean, over columns, of the Wasserstein-1 distance of two columns of values.

    On the line it is the mean difference of the sorted values. With random projections as columns it is the
    sliced Wasserstein distance (Rabin et al., 2011, "Wasserstein barycenter and its application to texture
    mixing"). It is 0 for equal sets and above 0 for two samples of one distribution, the more so the fewer
    values they have: compare sets of one size.

    Raises:
        ValueError: the sets differ in size, or are empty.
    """
    if x.shape != y.shape or not len(x):
        raise ValueError(
            f"wasserstein: shapes {tuple(x.shape)} and {tuple(y.shape)}, expected the same, not 0"
        )
    return float((x.sort(0).values - y.sort(0).values).abs().mean())


def directions(width: int, count: int, generator: torch.Generator) -> Float[Tensor, "width count"]:
    """Random directions of length 1 as columns, for sliced distances."""
    drawn = torch.randn(width, count, generator=generator)
    return drawn / drawn.norm(dim=0, keepdim=True)
