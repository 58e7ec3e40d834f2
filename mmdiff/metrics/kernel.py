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


def energy(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """The energy distance over sqrt(d), without bias: 2 E|x - y| - E|x - x'| - E|y - y'|.

    It is the squared maximum mean discrepancy under the kernel -|x - y| (Sejdinovic et al., 2013,
    "Equivalence of distance-based and RKHS-based statistics", theorem 22). It grows as a shift does, and not
    as its sixth power: for features whose outliers would outweigh all else in `mmd`. It can be negative too.

    Raises:
        ValueError: one of the sets has fewer than two rows.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"energy: {n} and {m} rows, expected at least 2 each")
    x, y = x.double() / x.shape[1] ** 0.5, y.double() / y.shape[1] ** 0.5
    own_x = torch.cdist(x, x).sum() / (n * (n - 1))
    own_y = torch.cdist(y, y).sum() / (m * (m - 1))
    return float(2 * torch.cdist(x, y).mean() - own_x - own_y)


def standardised(
    x: Float[Tensor, "n d"], reference: Float[Tensor, "m d"], least: float
) -> Float[Tensor, "n d"]:
    """Features on the scale of a reference, which itself gets mean 0 and deviation 1 in every column.

    Args:
        x: any features.
        reference: the real ones, as a rule.
        least: the smallest deviation that counts, in the unit of the features, so that what never varies in
            the reference does not outweigh all else.
    """
    return (x - reference.mean(0)) / reference.std(0).clamp_min(least)


def _kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return torch.pow(x @ y.T / x.shape[1] + 1, 3)
