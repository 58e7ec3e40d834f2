"""What samples are to whoever reads them: those of files, those that code makes, or some of either."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Source(Protocol):
    """Finitely many samples, each with its metadata row."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> tuple[Tensor, Mapping[str, Any]]:
        """The packed sample (the modality's ``unpack`` makes x0 of it, alone or stacked) and its columns.

        Raises:
            BadFile: the file cannot be used; of a source that was audited none is left.
        """

    def part(self, index: int, place: float) -> Tensor:
        """As much of a packed sample as shows what the modality's ``window`` at ``place`` is of the whole.

        Raises:
            BadFile: as above.
        """

    def bucket(self, index: int) -> int:
        """Which of the recipe's sizes the sample has; 0 is the main one."""

    def name(self, index: int) -> str:
        """What messages call the sample."""

    def columns(self, index: int) -> Mapping[str, Any]:
        """The metadata row alone; ``text`` is the caption."""
