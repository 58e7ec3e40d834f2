"""The bench of long clips with a tiny run."""

import json

import pytest
import torch

from mmdiff import cli
from tests.clipdamage import bouncing
from tools.bench import long

RECIPE = """\
modality: video
data: {source: bounce, size: 8x8, frames: 4, fps: 8, length: 20}
net: {size: custom, patch: 2, width: 16, mults: [1], blocks: 1, attention: []}
training: {steps: 2, batch_size: 4, given: 0.5, checkpoint_every: 2, sample_every: 2, loggers: files}
sampling: {steps: 2, n: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    (folder / "tiny.yaml").write_text(RECIPE)
    assert cli.main(["train", str(folder / "tiny.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"


def test_the_last_line_is_the_report(run, capsys):
    assert long.main([str(run), "--seconds", "1.5", "-n", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["frames"] == {"short": 4, "long": 12}
    assert (found["clips"], found["seams"], found["overlap"]) == (3, 3, 1)
    assert found["peak_ratio"] == found["peak_bytes"]["long"] / found["peak_bytes"]["short"]
    assert min(found["peak_bytes"].values()) > 50e6  # a process that has imported torch
    assert set(found["ratios"]) == {"seam", "elsewhere", "strangers"}
    for figures in found["ratios"].values():
        for figure in figures.values():
            assert figure["low"] <= figure["value"] <= figure["high"]
            assert figure["n"] == 3


def test_real_clips_have_no_seams_and_strangers_have():
    clips, at = bouncing(16, 40)[0], long.seams(40, 16, 4)
    assert at == [16, 28]
    assert 0.8 < long.ratios(clips, at, 0)["change"].value < 1.2
    joined = long.strangers(clips, at)
    assert torch.equal(joined[:, :16], clips[:, :16])
    assert torch.equal(joined[0, 16:28], clips[1, 16:28])
    assert all(figure.low > 2 for figure in long.ratios(joined, at, 0).values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seconds", "0.5"], "--seconds 0.5: 4 frames, expected more than 5"),
        (["--overlap", "4"], "sampling.overlap: got 4, expected at least 1 and less than the 4 frames"),
        (["--prompt", "a star"], "this run takes no prompt"),
    ],
)
def test_wrong_input_is_one_line(run, capsys, options, says):
    capsys.readouterr()
    assert long.main([str(run), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("long: ")
    assert says in error
    assert error.count("\n") == 1
