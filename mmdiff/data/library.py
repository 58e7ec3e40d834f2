"""Decoded samples by number, kept in memory as far as a budget of bytes allows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from mmdiff.data.scan import Entry, Listing


@runtime_checkable
class Media(Protocol):
    """What a modality must offer for its files to be audited and read."""

    @property
    def name(self) -> str:
        """For example image."""

    @property
    def suffixes(self) -> frozenset[str]:
        """Lower-case extensions with the dot."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x0 and of what `pack` gives."""

    def read(self, data: bytes, name: str) -> Any:
        """The sample in the bytes of a file. Raises BadFile."""

    def facts(self, sample: Any) -> Mapping[str, Any]:
        """What an audit says of a sample."""

    def pack(self, sample: Any) -> Tensor:
        """The sample at the modality's size, uint8."""

    def unpack(self, packed: Tensor) -> Tensor:
        """x0 of a packed sample."""


class Cache:
    """Keeps the first items that fit into a budget.

    Training reads all items once an epoch, in a new order each time. Then it does not matter which ones are
    kept, and to forget the one used longest ago would be no better. A process that gets a pickled copy starts
    empty, and the budget is for each process.
    """

    def __init__(self, length: int, shape: Sequence[int], cache_mb: int) -> None:
        self.shape = tuple(shape)
        size = max(torch.Size(self.shape).numel(), 1)
        self.slots = min(length, cache_mb * 2**20 // size)
        self._clear()

    def _clear(self) -> None:
        # Memory is taken by the system when a slot is first written, not here
        self._store = torch.empty((self.slots, *self.shape), dtype=torch.uint8)
        self._filled = torch.zeros(self.slots, dtype=torch.bool)

    def get(self, index: int, make: Callable[[int], Tensor]) -> Tensor:
        """The item, made when it is not kept; it must not be changed by the caller."""
        if index >= self.slots:
            return make(index)
        if not self._filled[index]:
            self._store[index] = make(index)
            self._filled[index] = True
        return self._store[index]

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "slots": self.slots}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.shape, self.slots = state["shape"], state["slots"]
        self._clear()


class Library:
    """The samples of a listing, read when they are asked for.

    Item `i` is (packed value uint8, columns). Reading a file that cannot be used raises BadFile; a listing
    that came through an audit has none.
    """

    def __init__(self, listing: Listing, modality: Media, cache_mb: int = 2048) -> None:
        self.listing, self.modality = listing, modality
        self._cache = Cache(len(listing.entries), modality.shape, cache_mb)

    def __len__(self) -> int:
        return len(self.listing.entries)

    def name(self, index: int) -> str:
        """The file's name below the root."""
        return self._entry(index).file_name

    def columns(self, index: int) -> Mapping[str, Any]:
        """The metadata of an item; nothing is decoded."""
        return self._entry(index).columns

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "..."], Mapping[str, Any]]:
        return self._cache.get(index, self._read), self.columns(index)

    def x0(self, index: int) -> Tensor:
        """The encoded sample."""
        return self.modality.unpack(self[index][0])

    def _entry(self, index: int) -> Entry:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.listing.entries[index]

    def _read(self, index: int) -> Tensor:
        entry = self._entry(index)
        return self.modality.pack(self.modality.read(entry.open(), entry.file_name))
