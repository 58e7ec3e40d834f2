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
    progress = Progress(out=out)
    progress.begin(4, 10)
    progress.say("hello")
    progress.advance(10, loss=0.5, rate=100.0)
    progress.close()
    assert "hello" in out.getvalue()
    assert "10/10" in out.getvalue()
    assert "loss 0.5000, 100 samples/s" in out.getvalue()


def test_elsewhere_lines_are_rare_and_the_last_step_is_one():
    out = io.StringIO()
    progress = Progress(out=out)
    progress.begin(0, 1000)
    for step in range(1, 1001):
        progress.checked(step, 1000)
        progress.advance(step, loss=0.25, rate=12.0)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("step 1000/1000  loss 0.2500")
    assert "\r" not in out.getvalue()


def test_long_checks_are_said_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mmdiff.training.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    progress = Progress(out=out)
    for done in range(1, 41):
        now[0] += 1
        progress.checked(done, 40)
    assert out.getvalue().splitlines() == [f"data: checked {n} of 40 files" for n in (10, 20, 30, 40)]


def test_a_line_says_what_is_left_of_the_steps_to_come(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mmdiff.training.progress.time.monotonic", lambda: now[0])
    out = io.StringIO()
    progress = Progress(out=out)
    progress.begin(100, 400)
    now[0] = 30.0
    progress.advance(200, loss=0.25, rate=12.0)
    assert out.getvalue() == "step 200/400  loss 0.2500  12 samples/s  1:00 left\n"


def test_quiet_says_nothing():
    for out in (io.StringIO(), Terminal()):
        progress = Progress(quiet=True, out=out)
        progress.begin(0, 2)
        progress.say("hello")
        progress.checked(1, 1)
        progress.advance(2, loss=1.0, rate=1.0)
        progress.close()
        assert out.getvalue() == ""
