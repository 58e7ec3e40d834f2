"""What users install: the wheel works outside the checkout and brings the recipes along."""

import zipfile
from email.parser import Parser

import pytest

# Before anything else, the installed package stands in front of the checkout.
INSTALLED = """
import sys
sys.path[0] = sys.argv[1]
import mmdiff
from mmdiff.cli import main
print(mmdiff.__file__)
sys.exit(main(sys.argv[2:]))
"""
TRAINING = [
    "training.steps=1",
    "training.batch_size=2",
    "training.loggers=files",
    "net.size=tiny",
    "sampling.steps=1",
]


@pytest.mark.slow
def test_the_wheel_brings_the_recipes(tmp_path, checkout, python):
    built = python("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=checkout)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mmdiff"}
    for wanted in ("mmdiff/recipes/image/emoji.yaml", "mmdiff/py.typed", "dist-info/licenses/LICENSE"):
        assert any(name.endswith(wanted) for name in names), wanted
    (metadata,) = (tmp_path / "site").glob("*.dist-info/METADATA")
    assert Parser().parsestr(metadata.read_text())["License-Expression"] == "Apache-2.0"
    (tmp_path / "installed.py").write_text(INSTALLED)
    begin = tmp_path / "installed.py", tmp_path / "site"
    listed = python(*begin, "recipe", "list", cwd=tmp_path)
    in_checkout = python("-m", "mmdiff", "recipe", "list")
    assert listed.stdout.splitlines() == [
        str(tmp_path / "site" / "mmdiff" / "__init__.py"),
        *in_checkout.stdout.splitlines(),
    ], listed.stderr
    settings = [word for setting in TRAINING for word in ("--set", setting)]
    trained = python(*begin, "train", "image/shapes", "--run", "run", *settings, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    drawn = python(*begin, "sample", "run", "--prompt", "a red circle", cwd=tmp_path)
    assert drawn.stdout.splitlines()[1:] == ["out/a-red-circle-0-0.png"], drawn.stderr
