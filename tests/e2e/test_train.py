"""The train command as a person runs it: killed, stopped, resumed, and on two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdiff.run import Run

pytestmark = pytest.mark.multi

RECIPE = """
modality: image
data: {size: 8x8}
net: {size: custom, patch: 2, width: 16, mults: [1, 2], blocks: 1, attention: [1]}
conditions: {text: {kind: text, tokens: 4}}
training: {steps: 12, batch_size: 4, warmup: 2, log_every: 1, checkpoint_every: 3, sample_every: 100,
  loggers: files, precision: fp32}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A folder with a recipe and seven pictures."""
    folder = tmp_path_factory.mktemp("e2e")
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(7):
        name = folder / "pictures" / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(name)
        name.with_suffix(".txt").write_text(f"thing {i}")
    return folder


@pytest.fixture(scope="module")
def start(setting, checkout):
    """Starts ``mmdiff train`` on a run folder of the setting; what is left is ended with the tests."""
    started = []

    def go(run: str, *words: str) -> subprocess.Popen[str]:
        command = ["-m", "mmdiff", "train", "tiny.yaml", "--data", "pictures", "--run", run, *words]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, *command], cwd=setting, env=environment, **pipes)
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.communicate()


def finish(process, code=0):
    out, err = process.communicate(timeout=250)
    assert process.returncode == code, (out, err)
    return out, err


def rows(path: Path) -> list[tuple[int, float, float]]:
    lines = Run(path).metrics_jsonl.read_text().splitlines()
    return [(row["step"], row["loss"], row["grad_norm"]) for row in map(json.loads, lines)]


def wait_for_rows(path: Path, count: int) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        file = Run(path).metrics_jsonl
        if file.exists() and file.read_text().count("\n") >= count:
            return
        time.sleep(0.005)
    pytest.fail(f"{path}: fewer than {count} rows")


@pytest.fixture(scope="module")
def whole(setting, start):
    """The run that nothing happens to, and what it said."""
    return setting / "whole", *finish(start("whole"))


def test_a_run_is_calm_and_says_where_it_is(whole):
    path, out, err = whole
    assert out.strip() == "whole"
    assert "7 samples, 8x8" in err
    assert "M parameters" in err
    for advert in ("Lightning", "lightning", "Tip", "Warning", "TPU", "workers"):
        assert advert not in err
    assert [step for step, _, _ in rows(path)] == list(range(1, 13))


def test_killed_at_any_time_the_losses_continue_bit_for_bit(setting, start, whole):
    for count in (1, 7):
        process = start("killed")
        wait_for_rows(setting / "killed", count)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
    finish(start("killed"))
    assert rows(setting / "killed") == rows(whole[0])
    ends = [Run(path).checkpoint("step-00000012") for path in (whole[0], setting / "killed")]
    for name in ("model", "ema"):
        assert getattr(ends[0], name).read_bytes() == getattr(ends[1], name).read_bytes()
    assert not list((setting / "killed").rglob("*.tmp.*"))


def test_sigterm_saves_and_leaves_with_143(setting, start, whole):
    process = start("stopped")
    wait_for_rows(setting / "stopped", 4)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, code=143)
    newest = Run(setting / "stopped").newest()
    assert newest.step == rows(setting / "stopped")[-1][0]
    assert f"SIGTERM: saved at step {newest.step}" in err
    finish(start("stopped"))
    assert rows(setting / "stopped") == rows(whole[0])


def test_two_processes_equal_one_with_the_same_batch(setting, start, whole):
    _, err = finish(start("two", "--devices", "2"))
    assert err.count("M parameters") == 1
    one, two = rows(whole[0]), rows(setting / "two")
    assert [row[0] for row in two] == [row[0] for row in one]
    for a, b in zip(one, two, strict=True):
        assert b[1:] == pytest.approx(a[1:], rel=1e-3)


def test_stopped_on_two_processes_and_resumed_on_one(setting, start, whole):
    process = start("reshaped", "--devices", "2")
    wait_for_rows(setting / "reshaped", 4)
    process.send_signal(signal.SIGTERM)
    finish(process, code=143)
    finish(start("reshaped"))
    one, again = rows(whole[0]), rows(setting / "reshaped")
    assert [row[0] for row in again] == list(range(1, 13))
    for a, b in zip(one, again, strict=True):
        assert b[1:] == pytest.approx(a[1:], rel=1e-3)


def test_nan_ends_all_processes_with_code_1_and_a_report(setting, start):
    words = ["--devices", "2", "--set", "training.learning_rate=1e30", "--set", "training.warmup=0"]
    _, err = finish(start("nan", *words), code=1)
    report = json.loads((setting / "nan" / "nan_report.json").read_text())
    assert report["step"] == len(rows(setting / "nan"))
    assert report["positions"] == list(range(4 * report["step"], 4 * report["step"] + 4))
    assert len(report["losses"]) == len(report["samples"]) == 4
    assert "nan_report.json" in err
