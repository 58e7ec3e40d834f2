"""The sampling bench with a tiny net."""

import json

import pytest
import torch
from torch import nn

from tests.needs import needs
from tools.bench import sampling
from tools.bench.sampling import Clock, Turn

RECIPE = """\
modality: image
data: {size: 8x8}
net: {size: custom, patch: 1, width: 8, mults: [1], blocks: 1, attention: []}
conditions:
  text: {kind: text}
  style: {kind: label}
training: {steps: 1}
sampling: {sampler: euler, prompts: [one, two], conditions: {style: google}}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def run(capsys, *options):
    assert sampling.main([*map(str, options), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


# the scheduler of diffusers passes tensors to numpy in a way that numpy 2 no longer likes
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@needs("diffusers")
def test_the_last_line_is_the_report(recipe, capsys):
    found = run(capsys, "--recipe", recipe, "--steps", 3, "--rounds", 2)
    assert found["calls"] == {"engine": 3, "engine, guided": 6, "DDIMPipeline": 3, "Euler loop": 3}
    assert found["rows"] == {"engine": 24, "engine, guided": 48, "DDIMPipeline": 24, "Euler loop": 24}
    assert found["overhead"] == found["overheads"]["engine"] > 0
    for name, seconds in found["seconds"].items():
        assert 0 < found["network_seconds"][name] < seconds
    assert found["speedup"]["DDIMPipeline"] == pytest.approx(
        found["seconds"]["DDIMPipeline"] / found["seconds"]["engine"]
    )


def test_the_clock_counts_what_is_inside_the_network():
    clock, net = Clock(), nn.Linear(2, 2)
    clock.watch(net)
    found = sampling.turn(lambda: [net(torch.zeros(3, 2)) for _ in range(4)], clock)
    assert (found.calls, found.rows) == (4, 12)
    assert 0 < found.network < found.seconds
    assert sampling.turn(lambda: net(torch.zeros(1, 2)), clock).calls == 1


def test_overhead_is_a_share_of_the_network_calls():
    assert Turn(seconds=1.03, network=1.0, calls=1, rows=1).overhead == pytest.approx(0.03)


def test_a_loop_that_leaves_work_out_is_no_contender():
    with pytest.raises(RuntimeError, match="idle: 0 rows for 2 pictures of 3 steps"):
        sampling.race({"idle": lambda: None}, Clock(), rounds=1, batch=2, steps=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--batch", "0"], "--batch 0"), (["--recipe", "image/emojy"], "emojy")],
)
def test_wrong_input_is_one_line(capsys, options, message):
    assert sampling.main(options) == 2
    error = capsys.readouterr().err
    assert error.startswith("sampling: ")
    assert message in error
    assert error.count("\n") == 1
