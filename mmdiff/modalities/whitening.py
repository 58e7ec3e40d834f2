"""Whitening: every coefficient channel to mean 0 and variance 1, by what was measured on the data."""

from collections.abc import Iterable
from itertools import repeat

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Channels that vary less than this share of the most variable one are not blown up further.
_LEAST = 1e-4


def measured(
    coefficients: Iterable[Float[Tensor, "..."]],
    lengths: Iterable[Int[Tensor, "..."] | None] = repeat(None),
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Mean and standard deviation of each channel over all frames, in one pass and in float64.

    Where all channels are constant, each gets the standard deviation 1, and whitens to zeros.

    Args:
        coefficients: batches [*b k l].
        lengths: for each batch, how many frames of each of its items are sound and not padding, [*b].

    Raises:
        ValueError: there is no frame at all, or some are not finite.
    """
    count, mean, spread = 0, torch.zeros(()), torch.zeros(())
    for batch, valid in zip(coefficients, lengths, strict=False):
        frames = _frames(batch, valid)
        new = frames.shape[1]
        if not new:
            continue
        here = frames.mean(1)
        # Chan et al., 1979, eq. 2.1: means and sums of squares of two parts to those of the whole
        apart = here - mean
        spread = (
            spread + (frames - here[:, None]).square().sum(1) + apart.square() * (count * new / (count + new))
        )
        mean = mean + apart * (new / (count + new))
        count += new
    if not count or not bool(spread.isfinite().all()):
        raise ValueError("whitening is measured on at least one frame of finite numbers")
    std = (spread / count).sqrt()
    std = std.clamp_min(_LEAST * float(std.max())) if float(std.max()) > 0 else torch.ones_like(std)
    return mean, std


def _frames(batch: Tensor, valid: Tensor | None) -> Tensor:
    """All frames that are sound, float64 [k frames]."""
    flat = batch.detach().double().reshape(-1, *batch.shape[-2:])
    if valid is None:
        return flat.transpose(0, 1).flatten(1)
    mask = torch.arange(flat.shape[-1], device=flat.device) < valid.reshape(-1, 1)
    return flat.transpose(1, 2)[mask].T
