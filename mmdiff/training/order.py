"""Which sample a position reads: in every epoch each once, and where sizes differ one size a batch."""

from collections.abc import Sequence
from functools import lru_cache

from mmdiff import counter


@lru_cache(maxsize=16)
def _order(seed: int, stream: str, epoch: int, size: int) -> list[int]:
    return counter.permutation(seed, stream, epoch, size=size)


def place(seed: int, position: int, size: int, stream: str = "order") -> int:
    """Which of ``size`` samples a position reads: every epoch visits each once, in an order of its own."""
    epoch, rank = divmod(position, size)
    return _order(seed, stream, epoch, size)[rank]


class Buckets:
    """An order in which every batch is of samples of one size, a bucket.

    A round has as many batches of each bucket as its samples fill, at least one, and mixes them. Within a
    bucket the order runs on from batch to batch, so that it reads each sample once before any a second time.

    Args:
        which: the bucket of each sample.
        batch: samples that a step sees, in all processes together.
    """

    def __init__(self, which: Sequence[int], batch: int) -> None:
        self.which, self.batch = which, batch
        self._samples: dict[int, list[int]] = {}
        for index, bucket in enumerate(which):
            self._samples.setdefault(bucket, []).append(index)
        # The batches of a round: of which bucket each is, and its number among those
        self._round = [
            (bucket, number)
            for bucket, samples in sorted(self._samples.items())
            for number in range(self._batches(samples))
        ]

    def place(self, seed: int, position: int) -> int:
        """Which sample a position reads."""
        if len(self._samples) == 1:
            return place(seed, position, len(self.which))
        step, slot = divmod(position, self.batch)
        bucket, number = self._round[place(seed, step, len(self._round), "buckets")]
        samples = self._samples[bucket]
        number += step // len(self._round) * self._batches(samples)
        return samples[place(seed, number * self.batch + slot, len(samples), f"order of {bucket}")]

    def _batches(self, samples: Sequence[int]) -> int:
        """Of a bucket with these samples in a round."""
        return max(1, round(len(samples) / self.batch))
