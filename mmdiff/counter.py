"""Random numbers without state: every draw is a pure function of (seed, stream, index...).

A generator that two samples share makes a result depend on its neighbours, and a generator whose state must
be saved makes a resume fragile.  Here a draw is addressed instead: hashing the address gives a 64-bit key,
and the key seeds whatever is needed (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3", is
the idea).
"""

import hashlib
import math
import struct
from collections.abc import Sequence

import torch
from torch import Tensor


def key(seed: int, stream: str, *index: int) -> int:
    """Returns the unsigned 64-bit key of an address; ``stream`` names what the number is for."""
    address = struct.pack(f"<{1 + len(index)}q", seed, *index)
    return int.from_bytes(hashlib.blake2b(address, digest_size=8, key=stream.encode()).digest(), "little")


def uniform(seed: int, stream: str, *index: int) -> float:
    """Returns a number in [0, 1) with 53 random bits."""
    return (key(seed, stream, *index) >> 11) * 2.0**-53


def generator(seed: int, stream: str, *index: int) -> torch.Generator:
    """Returns a fresh CPU generator that nothing else shares."""
    return torch.Generator().manual_seed(key(seed, stream, *index) >> 1)


def normal(seed: int, stream: str, *index: int, shape: Sequence[int], shared: float = 0.0) -> Tensor:
    """Returns standard normal noise: float32, contiguous, on the CPU, whatever the caller computes in.

    Other dtypes, layouts and devices would give other numbers for the same address, so cast afterwards.

    Args:
        shared: the share of the variance that is the same along the second axis, the frames of a clip (the
            mixed noise of Ge et al., 2023, "Preserve Your Own Correlation", arXiv:2305.10474, section 4).
    """
    own = torch.randn(tuple(shape), generator=generator(seed, stream, *index), dtype=torch.float32)
    if not shared:
        return own
    channels, _, *rest = shape
    common = normal(seed, f"{stream}, shared", *index, shape=(channels, 1, *rest))
    return math.sqrt(1 - shared) * own + math.sqrt(shared) * common


def permutation(seed: int, stream: str, *index: int, size: int) -> list[int]:
    """Returns the numbers 0 to ``size - 1`` in an order of their own."""
    order: list[int] = torch.randperm(size, generator=generator(seed, stream, *index)).tolist()
    return order
