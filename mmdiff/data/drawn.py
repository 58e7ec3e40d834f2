"""Samples that code makes by number, each when it is asked for."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from mmdiff.data.library import Cache


class Drawn(ABC):
    """The first ``length`` samples of a seed, a ``Source``; sample ``index`` of a seed is always the same.

    Attributes:
        noun: what messages call a sample.
    """

    noun: ClassVar[str]

    def __init__(self, seed: int, length: int, cache_mb: int = 2048) -> None:
        self.seed, self.length = seed, length
        self._cache = Cache(cache_mb)

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        """What messages call the sample."""
        return f"{self.noun} {index} of seed {self.seed}"

    @abstractmethod
    def columns(self, index: int) -> Mapping[str, Any]:
        """The truth about a sample."""

    @abstractmethod
    def _make(self, index: int) -> Tensor:
        """The packed sample."""

    def __getitem__(self, index: int) -> tuple[Tensor, Mapping[str, Any]]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self._cache.get(index, self._make), self.columns(index)

    def bucket(self, index: int) -> int:
        """The only size."""
        return 0

    def part(self, index: int, place: float) -> Tensor:
        """The whole sample: it is as long as what is trained on."""
        return self[index][0]
