"""What a person sees while training: a bar on a terminal, a line now and then elsewhere, and nothing else."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from tqdm import tqdm

INTERVAL = 10.0  # seconds between two lines where there is no terminal

# Lightning's advice that does not apply here, by the start of the message.
_ADVICE = (
    r".*does not have many workers",
    r".*GPU available but not used",
    r".*You are trying to `self.log\(\)`",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*pin_memory",
)


@runtime_checkable
class Stream(Protocol):
    """Where lines go: stderr, or anything like it."""

    def write(self, text: str, /) -> int:
        """Takes text."""

    def flush(self) -> None:
        """Shows it now."""

    def isatty(self) -> bool:
        """Whether a person sees it as it comes."""


class Progress:
    """Shows one session's progress; ``quiet`` shows nothing."""

    def __init__(self, quiet: bool = False, out: Stream | None = None) -> None:
        self._out: Stream = out or sys.stderr
        self._quiet = quiet
        self._bar: tqdm | None = None
        self._begun = self._last = time.monotonic()
        self._start = self._total = 0

    def say(self, line: str) -> None:
        """Shows one line, above the bar if there is one."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(line, file=self._out)
        else:
            self._out.write(line + "\n")
            self._out.flush()

    def checked(self, done: int, total: int) -> None:
        """Shows now and then how many files were looked through."""
        if self._due():
            self.say(f"data: checked {done:,} of {total:,} files")

    def begin(self, start: int, total: int) -> None:
        """Shows that training goes on at step ``start`` of ``total``; the time left is reckoned from now."""
        self._start, self._total = start, total
        self._begun = self._last = time.monotonic()
        if not self._quiet and self._out.isatty():
            self._bar = tqdm(
                total=total, initial=start, unit="step", file=self._out, dynamic_ncols=True, smoothing=0.05
            )

    def advance(self, step: int, loss: float, rate: float) -> None:
        """Shows that ``step`` steps are done.

        Args:
            step: since the run began.
            loss: of the last step.
            rate: samples per second.
        """
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:.0f} samples/s", refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._due() or step == self._total:
            spent = time.monotonic() - self._begun
            left = clock(spent / max(step - self._start, 1) * (self._total - step))
            self.say(f"step {step}/{self._total}  loss {loss:.4f}  {rate:.0f} samples/s  {left} left")

    def close(self) -> None:
        """Leaves the terminal as it should be."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _due(self) -> bool:
        """Whether it is time for another line."""
        if time.monotonic() - self._last < INTERVAL:
            return False
        self._last = time.monotonic()
        return True


def clock(seconds: float) -> str:
    """Returns a duration as a person says it: ``45 s``, ``3:05`` or ``2:03:04``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def calm_lightning() -> Iterator[None]:
    """Within the block Lightning prints neither adverts nor advice; its errors stay."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero", "lightning")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
