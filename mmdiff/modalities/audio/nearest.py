"""The nearest places of a kind along a series."""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def nearest(
    there: Bool[Tensor, " n"], none: tuple[int, int]
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """For each place the nearest that is there, at or before it and at or behind it; else that of `none`."""
    at = torch.arange(len(there), device=there.device)
    before = torch.where(there, at, none[0]).cummax(0).values
    behind = torch.where(there, at, none[1]).flip(0).cummin(0).values.flip(0)
    return before, behind
