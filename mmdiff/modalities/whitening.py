"""Whitening: every coefficient channel to mean 0 and variance 1, by what was measured on the data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Channels that vary less than this share of the most variable one are not blown up further.
_LEAST = 1e-4


@dataclass(frozen=True)
class Whitening:
    """Mean and standard deviation of each channel, as plain numbers that a run can store."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(0 < std < float("inf") for std in self.std):
            raise ValueError("whitening needs as many standard deviations above 0 as means")

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Whitening":
        """From what `state` gave."""
        return cls(tuple(state["mean"]), tuple(state["std"]))

    def state(self) -> dict[str, list[float]]:
        """Two lists, for JSON or YAML, which keep all digits."""
        return {"mean": list(self.mean), "std": list(self.std)}

    def whiten(self, x: Float[Tensor, "*b k l"]) -> Float[Tensor, "*b k l"]:
        """Coefficients with mean 0 and variance 1, as far as they are like those measured."""
        mean, std = self._like(x)
        return (x - mean) / std

    def unwhiten(self, x: Float[Tensor, "*b k l"]) -> Float[Tensor, "*b k l"]:
        """Undoes `whiten`."""
        mean, std = self._like(x)
        return x * std + mean

    def _like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[-2] != len(self.mean):
            raise ValueError(f"whitening of {len(self.mean)} channels, got coefficients of {x.shape[-2]}")
        mean, std = torch.tensor([self.mean, self.std], dtype=x.dtype, device=x.device)
        return mean[:, None], std[:, None]


def measured(
    coefficients: Iterable[Float[Tensor, "..."]],
    lengths: Iterable[Int[Tensor, "..."] | None] = repeat(None),
) -> Whitening:
    """The whitening of all frames, in one pass and in float64.

    Channels that are constant get the standard deviation 1, and whiten to zeros.

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
    return Whitening(tuple(mean.tolist()), tuple(std.tolist()))


def _frames(batch: Tensor, valid: Tensor | None) -> Tensor:
    """All frames that are sound, float64 [k frames]."""
    flat = batch.detach().double().reshape(-1, *batch.shape[-2:])
    if valid is None:
        return flat.transpose(0, 1).flatten(1)
    mask = torch.arange(flat.shape[-1], device=flat.device) < valid.reshape(-1, 1)
    return flat.transpose(1, 2)[mask].T
