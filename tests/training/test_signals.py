"""Signals are remembered, and a second Ctrl-C is obeyed at once."""

import os
import signal
import threading

import pytest

from mmdiff.training.signals import Stop


@pytest.fixture(autouse=True)
def handlers():
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered(signum):
    stop = Stop()
    stop.listen()
    assert stop.signum == 0
    os.kill(os.getpid(), signum)
    assert stop.signum == signum


def test_second_interrupt_means_now():
    stop = Stop()
    stop.listen()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_leave_the_handlers_alone():
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Stop().listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
