"""Decoded samples by number, kept in memory as far as a budget of bytes allows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

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

    def read(self, data: bytes, name: str) -> Any:
        """The sample in the bytes of a file. Raises BadFile."""

    def facts(self, sample: Any) -> Mapping[str, Any]:
        """What an audit says of a sample."""

    def pack(self, sample: Any) -> Tensor:
        """The sample in as few bytes as it can be kept, of any type and length."""

    def unpack(self, packed: Tensor) -> Tensor:
        """x0 of a packed sample."""


@runtime_checkable
class Sought(Protocol):
    """What a modality offers beside the rest if its longest files need not be decoded whole."""

    def sought(self, data: bytes, name: str, place: float) -> Tensor | None:
        """What `window` at `place` gives of the packed sample of a long file; None: decode it whole."""


class Cache:
    """Keeps items of any type and length, the first ones asked for that fit into a budget.

    Training reads all items once an epoch, in a new order each time. Then it does not matter which ones are
    kept, and to forget the one used longest ago would be no better. A process that gets a pickled copy starts
    empty, and the budget is for each process.
    """

    def __init__(self, cache_mb: int) -> None:
        self.cache_mb = cache_mb
        self._room = cache_mb * 2**20  # bytes that are still free
        self._kept: dict[int, Tensor] = {}

    def get(self, index: int, make: Callable[[int], Tensor]) -> Tensor:
        """The item, made when it is not kept; it must not be changed by the caller."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        made = make(index).contiguous()
        if made.nbytes <= self._room:
            self._room -= made.nbytes
            self._kept[index] = made
        return made

    def holds(self, index: int) -> bool:
        """Whether the item is kept."""
        return index in self._kept

    def __reduce__(self) -> tuple[type["Cache"], tuple[int]]:
        return Cache, (self.cache_mb,)


class Library:
    """The samples of a listing, read when they are asked for.

    Item `i` is (packed value, columns). Reading a file that cannot be used raises BadFile; a listing
    that came through an audit has none.

    Args:
        listing: the files.
        modality: reads them.
        cache_mb: of memory for what was read, MiB.
        others: the modality at further sizes.
        which: the size of each file: 0 for that of ``modality``, then those of ``others``; all 0 when empty.
    """

    def __init__(
        self,
        listing: Listing,
        modality: Media,
        cache_mb: int = 2048,
        others: Sequence[Media] = (),
        which: Sequence[int] = (),
    ) -> None:
        self.listing, self.modality = listing, modality
        self._sizes, self._which = (modality, *others), which
        self._cache = Cache(cache_mb)

    def __len__(self) -> int:
        return len(self.listing.entries)

    def name(self, index: int) -> str:
        """The file's name below the root."""
        return self._entry(index).file_name

    def columns(self, index: int) -> Mapping[str, Any]:
        """The metadata of an item; nothing is decoded."""
        return self._entry(index).columns

    def bucket(self, index: int) -> int:
        """The size of an item."""
        return self._which[index] if self._which else 0

    def __getitem__(self, index: int) -> tuple[Tensor, Mapping[str, Any]]:
        return self._cache.get(index, self._read), self.columns(index)

    def part(self, index: int, place: float) -> Tensor:
        """What a window of an item is cut from: of a long file no more than the window itself is decoded."""
        modality = self._sizes[self.bucket(index)]
        if self._cache.holds(index) or not isinstance(modality, Sought):
            return self[index][0]
        entry = self._entry(index)
        data = entry.open()
        found = modality.sought(data, entry.file_name, place)
        return self._cache.get(index, lambda _: self._packed(index, data)) if found is None else found

    def x0(self, index: int) -> Tensor:
        """The encoded sample."""
        return self.modality.unpack(self[index][0])

    def _entry(self, index: int) -> Entry:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.listing.entries[index]

    def _read(self, index: int) -> Tensor:
        return self._packed(index, self._entry(index).open())

    def _packed(self, index: int, data: bytes) -> Tensor:
        modality = self._sizes[self.bucket(index)]
        return modality.pack(modality.read(data, self.name(index)))
