"""The demonstration end to end, with a training that is far too short."""

import re

from PIL import Image

from mmdiff.data import shapes
from mmdiff.training.demo import SHOWN, captions, demo_image

SHORT = [
    "training.steps=2",
    "training.loggers=files",
    "training.batch_size=4",
    "data.size=16x16",
    "net.size=tiny",
    "sampling.steps=1",
    "sampling.n=1",
    "sampling.guidance=1",
]


def test_the_demo_leaves_a_captioned_grid_a_page_and_judged_shares(tmp_path):
    said = []
    page = demo_image(tmp_path, SHORT, said.append)
    text = page.read_text()
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width > 4 * 64
    assert re.findall(r'src="([^"]*)"', text) == ["grid.png"]
    for name in ("colour", "shape", "position", "all"):
        assert any(re.match(rf"{name} +\d+% of 96 captions hold", line) for line in said)
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    before = (tmp_path / "grid.png").read_bytes()
    demo_image(tmp_path, SHORT, said.append)
    assert (tmp_path / "grid.png").read_bytes() == before


def test_the_shown_captions_cover_colours_shapes_and_positions():
    shown = captions(SHOWN)
    assert {truth["colour"] for truth in shown} == set(shapes.COLOURS)
    assert {truth["shape"] for truth in shown} == set(shapes.SHAPES)
    assert {truth["position"] for truth in shown} == set(shapes.POSITIONS)
    assert len({truth["text"] for truth in captions(96)}) == 96
