"""Compiling changes speed and nothing else."""

import json

import pytest

from mmdiff.run import Run
from mmdiff.training import session, train
from mmdiff.training.loggers import read_rows
from tests.needs import needs

# Run without the tests' type checks, which a compiler cannot see through.
SCRIPT = """
import json, sys
from mmdiff import recipe as recipes
from mmdiff.run import Run
from mmdiff.training import train
from mmdiff.training.loggers import read_rows
from safetensors.torch import load_file
asked, folder = recipes.load(sys.argv[1]).override(["data.path=" + sys.argv[2], "net.mults=[1]"]), sys.argv[3]
asked = asked.override(["net.attention=[0]", "training.steps=4", "data.sizes=[16x8]"])
asked = asked.override(["data.alternative_share=0", "conditions.style.values=[flat]"])
found = {}
for compile in ("false", "true"):
    path = train(asked.override(["training.compile=" + compile]), run=f"{folder}/{compile}", quiet=True)
    rows = [row["loss"] for row in read_rows(Run(path))]
    found[compile] = {"loss": rows, "keys": sorted(load_file(Run(path).newest().ema))}
print(json.dumps(found))
"""


@pytest.mark.slow
@needs(programs=["g++"])
def test_compiled_training_on_several_sizes_gives_the_same_losses_and_names(
    recipe, pictures, shapes, python, tmp_path
):
    recipe()
    settings = pictures.parent / "tiny.yaml"
    done = python("-c", SCRIPT, settings, shapes, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["true"]["keys"] == found["false"]["keys"]
    assert found["true"]["loss"] == pytest.approx(found["false"]["loss"], rel=1e-3)


def test_without_a_compiler_training_warns_and_goes_on(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(session.shutil, "which", lambda name: None)
    monkeypatch.setattr(session.torch.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match=r"no C\+\+ compiler was found"):
        train(recipe("training.compile=true", "training.steps=2"), run=tmp_path / "run", quiet=True)
    assert len(read_rows(Run(tmp_path / "run"))) == 2
