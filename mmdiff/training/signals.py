"""SIGTERM and Ctrl-C: finish the step, save, leave.  Lightning's own handler saves nothing and exits 0."""

import signal
import threading
from types import FrameType


class Stop:
    """Remembers that the process was asked to end; the training loop looks at ``signum`` after each step."""

    def __init__(self) -> None:
        self.signum = 0

    def listen(self) -> None:
        """Takes over both signals; whoever called restores them (Lightning does at the end of ``fit``).

        Python allows handlers in the main thread only; elsewhere the signals keep their meaning.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._hear)
            signal.signal(signal.SIGINT, self._hear)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        if self.signum == signum == signal.SIGINT:
            signal.default_int_handler(signum, frame)  # the second Ctrl-C means now, without saving
        self.signum = signum


def ignore_in_worker(worker: int) -> None:
    """Leaves a signal that went to the whole process group to the main process, so that it can still save.

    Loader workers end with their parent in any case.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
