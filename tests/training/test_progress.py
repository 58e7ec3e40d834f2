"""What a person sees."""

import io

import pytest

from mmdiff.training.progress import Progress, clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.4, "59 s"), (60, "1:00"), (185, "3:05"), (7384, "2:03:04")]
)
def test_clock(seconds, said):
    assert clock(seconds) == said


def test_a_terminal_gets_a_bar():
    out = Terminal()
    progress = Progress(total=10, start=4, out=out)
    progress.say("hello")
    progress.advance(10, loss=0.5, rate=100.0)
    progress.close()
    assert "hello" in out.getvalue()
    assert "10/10" in out.getvalue()
    assert "samples/s" in out.getvalue()


def test_elsewhere_lines_are_rare_and_the_last_step_is_one():
    out = io.StringIO()
    progress = Progress(total=1000, start=0, out=out)
    for step in range(1, 1001):
        progress.advance(step, loss=0.25, rate=12.0)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("step 1000/1000  loss 0.2500")
    assert "\r" not in out.getvalue()


def test_quiet_says_nothing():
    for out in (io.StringIO(), Terminal()):
        progress = Progress(total=2, start=0, quiet=True, out=out)
        progress.say("hello")
        progress.advance(2, loss=1.0, rate=1.0)
        progress.close()
        assert out.getvalue() == ""
