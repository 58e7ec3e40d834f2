"""Which sample a position reads: in every epoch each once, and where sizes differ one size a batch."""

import math
from collections.abc import Sequence

from mmdiff import counter

_ROUND = 2**16  # batches of a round, about


class Shuffled:
    """An endless order of ``size`` things: every epoch has each once, in an order of its own."""

    def __init__(self, size: int, stream: str = "order") -> None:
        self.size, self.stream = size, stream
        self._epochs: dict[tuple[int, int], list[int]] = {}  # of two seeds and epochs at most

    def __call__(self, seed: int, position: int) -> int:
        """Which one is at a position."""
        epoch, rank = divmod(position, self.size)
        if (seed, epoch) not in self._epochs:
            self._epochs = dict(list(self._epochs.items())[-1:])
            self._epochs[seed, epoch] = counter.permutation(seed, self.stream, epoch, size=self.size)
        return self._epochs[seed, epoch][rank]


class Buckets:
    """An order in which every batch is of samples of one bucket, such as those of one size.

    Batches of all buckets are mixed, each bucket having as many in a round as its share of the samples asks
    for. From batch to batch a bucket goes on in an order of its own, so that it reads each sample once before
    any a second time.

    Args:
        which: the bucket of each sample.
        batch: samples that a step sees, in all processes together.
    """

    def __init__(self, which: Sequence[int], batch: int) -> None:
        self.which, self.batch = which, batch
        samples: dict[int, list[int]] = {}
        for index, bucket in enumerate(which):
            samples.setdefault(bucket, []).append(index)
        self._samples = samples
        self._orders = {
            bucket: Shuffled(len(some), f"order of {bucket}" if len(samples) > 1 else "order")
            for bucket, some in samples.items()
        }
        # A round is as many epochs as give the smallest bucket four batches, which keeps the shares; where
        # that would be too long a round, such a bucket is seen more often than its share
        epochs = min(math.ceil(4 * batch / min(map(len, samples.values()))), _ROUND * batch // len(which) + 1)
        counts = {b: max(round(epochs * len(some) / batch), 1) for b, some in sorted(samples.items())}
        self._batches = [bucket for bucket, count in counts.items() for _ in range(count)]
        self._counts, self._round = counts, Shuffled(len(self._batches), "buckets")
        self._numbered: dict[tuple[int, int], list[int]] = {}

    def place(self, seed: int, position: int) -> int:
        """Which sample a position reads."""
        if len(self._samples) == 1:
            return self._orders[self.which[0]](seed, position)
        step, slot = divmod(position, self.batch)
        bucket = self._batches[self._round(seed, step)]
        rank = self._number(seed, step) * self.batch + slot
        return self._samples[bucket][self._orders[bucket](seed, rank)]

    def _number(self, seed: int, step: int) -> int:
        """How many batches of its bucket came before a step."""
        turn, rank = divmod(step, len(self._batches))
        if (seed, turn) not in self._numbered:
            seen, numbers = {bucket: turn * count for bucket, count in self._counts.items()}, list[int]()
            for later in range(turn * len(self._batches), (turn + 1) * len(self._batches)):
                bucket = self._batches[self._round(seed, later)]
                numbers.append(seen[bucket])
                seen[bucket] += 1
            self._numbered = {(seed, turn): numbers}
        return self._numbered[seed, turn][rank]
