"""The run page: self-contained, escaped, and right about the curve."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdiff.training import page
from mmdiff.training.page import Figure, Part

ROWS = [{"step": 20 * i, "loss": 1 / i} for i in range(1, 50)]


class Balanced(HTMLParser):
    VOID = frozenset({"meta", "img"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def render(**changes):
    given = {
        "title": "a run",
        "facts": [("1", "steps")],
        "rows": ROWS,
        "figures": [Figure(step, f"samples/step-{step:08d}/grid.png") for step in (40, 20)],
        "recipe": "modality: image\n",
        "finished": True,
    }
    return page.render(**given | changes)


def test_page_is_well_formed_and_needs_nothing_from_elsewhere():
    text = render()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert links
    assert all(link.startswith("samples/") for link in links)
    assert "http-equiv" not in text
    assert "http-equiv" in render(finished=False)


def test_newest_grid_comes_first():
    text = render()
    assert text.index("step-00000040") < text.index("step-00000020")


def test_sounds_are_played_beside_their_picture():
    heard = ["samples/step-00000040/000-a-soft-bell.wav", "samples/step-00000040/001-x&y.wav"]
    text = render(figures=[Figure(40, "samples/step-00000040/grid.png", heard)])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert re.findall(r'<audio controls preload="none" src="([^"]*)"', text) == [
        heard[0],
        "samples/step-00000040/001-x&amp;y.wav",
    ]
    assert "000 a soft bell" in text
    assert "<audio" not in render()


def test_clips_play_by_themselves():
    text = render(figures=[Figure(40, "samples/step-00000040/grid.png", ["samples/step-00000040/000-a.mp4"])])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert '<video loop autoplay muted controls playsinline src="samples/step-00000040/000-a.mp4">' in text


def test_a_page_of_several_runs_shows_each_and_leads_to_its_own():
    one = Part("a & b", "index.html", [("99%", "hold <b>")], Figure(40, "grid.png", ["samples/000-x.wav"]))
    text = page.overview("all", "of two kinds", [one.below("first"), one.below("second")])
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == [
        f"{folder}/{path}"
        for folder in ("first", "second")
        for path in ("index.html", "grid.png", "grid.png", "samples/000-x.wav")
    ]
    assert "hold &lt;b&gt;" in text
    assert "http-equiv" not in text


def test_what_the_user_wrote_is_escaped():
    text = render(title="<b>&", recipe="x: <script>alert(1)</script>")
    assert "<script>" not in text
    assert "<b>&<" not in text


@pytest.mark.parametrize(
    "rows", [[], ROWS[:1], [{"step": 1, "loss": float("nan")}] * 3, [{"step": 5, "loss": 0.5}] * 2]
)
def test_few_or_odd_rows_do_not_break_the_curve(rows):
    Balanced().feed(render(rows=rows, figures=[]))


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=3000))
def test_curve_stays_inside_the_frame(losses):
    text = page.curve([(i + 1, loss) for i, loss in enumerate(losses)])
    line = re.search(r'points="([^"]*)"', text)[1]
    places = [tuple(map(float, point.split(","))) for point in line.split()]
    assert len(places) <= page.POINTS
    assert all(page.LEFT <= x <= page.WIDTH and 0 <= y <= page.HEIGHT for x, y in places)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
