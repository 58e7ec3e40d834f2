"""The distance of two sets of features, whoever computed them: unbiased, also with few samples."""

import torch
from jaxtyping import Float
from torch import Tensor


def mmd(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The squared maximum mean discrepancy under the kernel (x.y / d + 1) ** 3, without bias.

    It is 0 on average where both come from one distribution, so it can be negative. With features of
    Inception it is the KID (Binkowski et al., 2018, "Demystifying MMD GANs", eq. 4); name the features beside
    the number.

    Raises:
        ValueError: one of the sets has fewer than two rows.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"mmd: {n} and {m} rows, expected at least 2 each")
    x, y = x.double(), y.double()
    within_x, within_y, between = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    own_x = (within_x.sum() - within_x.diagonal().sum()) / (n * (n - 1))
    own_y = (within_y.sum() - within_y.diagonal().sum()) / (m * (m - 1))
    return float(own_x + own_y - 2 * between.mean())


def _kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return torch.pow(x @ y.T / x.shape[1] + 1, 3)
