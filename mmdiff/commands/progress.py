"""How far a verb is, on stderr: a bar on a terminal, a line every so often elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 10.0  # seconds between two lines


@contextmanager
def shown(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total), and leaves the terminal as it should be."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(unit=unit, file=sys.stderr, dynamic_ncols=True, leave=False) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move
        return
    last = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > EVERY:
            last = time.monotonic()
            print(f"{done} of {total} {unit}s", file=sys.stderr, flush=True)

    yield say
