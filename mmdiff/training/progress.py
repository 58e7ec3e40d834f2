"""What a person sees while training: a bar on a terminal, a line now and then elsewhere, and nothing else."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

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


class Progress:
    """Shows one run's progress; ``quiet`` shows nothing."""

    def __init__(self, total: int, start: int, quiet: bool = False, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._total, self._quiet = total, quiet
        self._start, self._bar = start, None
        self._begun = self._last = time.monotonic()
        if not quiet and self._out.isatty():
            self._bar = tqdm(
                total=total,
                initial=start,
                unit="step",
                file=self._out,
                dynamic_ncols=True,
                smoothing=0.05,
                leave=True,
            )

    def begin(self) -> None:
        """Starts the clock that the time left is reckoned from."""
        self._begun = self._last = time.monotonic()

    def say(self, line: str) -> None:
        """Shows one line, above the bar if there is one."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(line, file=self._out)
        else:
            self._out.write(line + "\n")
            self._out.flush()

    def advance(self, step: int, loss: float, rate: float) -> None:
        """Shows that ``step`` steps are done.

        Args:
            step: since the run began.
            loss: of the last step.
            rate: samples per second.
        """
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:.0f} samples/s", refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last < INTERVAL and step < self._total:
            return
        self._last = now
        left = (now - self._begun) / max(step - self._start, 1) * (self._total - step)
        self.say(f"step {step}/{self._total}  loss {loss:.4f}  {rate:.0f} samples/s  {clock(left)} left")

    def close(self) -> None:
        """Leaves the terminal as it should be."""
        if self._bar is not None:
            self._bar.close()


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
