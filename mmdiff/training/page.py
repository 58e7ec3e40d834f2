"""index.html of a run: the loss curve, the sample grids by step, the speed and the recipe on one page.

Several runs may share one more page, which shows their samples side by side and leads to their own. A page
needs no server, no script and no network; pictures, sounds and clips are linked relative to it, so a run can
move.
"""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmdiff import files
from mmdiff.modalities import plays
from mmdiff.run import Run
from mmdiff.training.gallery import played
from mmdiff.training.loggers import read_rows
from mmdiff.training.progress import clock

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 260, 52, 24
POINTS = 400  # of the curve; more rows are averaged in equal groups
RELOAD = 30  # seconds, while training

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #667085; --line: #d9dee7; --paper: #fbfcfe;
  --card: #fff; --blue: #2f6fde }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #313845; --paper: #14171d;
    --card: #1b1f27; --blue: #7aa7ff }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 940px; margin: 0 auto; padding: 32px 20px 64px }
main:has(.beside) { max-width: 1500px }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(340px, 100%), 1fr)); gap: 0 24px }
.beside .facts { margin: 12px 0 14px }
a { color: var(--blue) }
h1 { margin: 0; font-size: 26px }
h2 { margin: 36px 0 12px; font-size: 17px }
p { margin: 4px 0; color: var(--soft) }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 18px }
.facts div, figure, svg, pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px }
.facts div { padding: 8px 14px; min-width: 110px }
.facts b { display: block; font-size: 18px; font-weight: 600 }
.facts span { color: var(--soft); font-size: 12px }
svg { width: 100%; height: auto; display: block }
figure { margin: 0 0 14px; padding: 12px }
figure img { max-width: 100%; display: block; border-radius: 4px }
.played { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 8px 14px }
.played { margin-top: 12px; font-size: 13px; color: var(--soft) }
.played:has(video) { grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)) }
.played audio { display: block; width: 100%; height: 34px }
.played video { display: block; width: 100%; image-rendering: pixelated; border-radius: 4px }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 8px }
pre { padding: 14px; overflow: auto; font-size: 12.5px }
text { fill: var(--soft); font: 11px system-ui, sans-serif }
summary { cursor: pointer; color: var(--soft); margin: 8px 0 }
"""

# Clips without sound start by themselves, which browsers allow where they are muted
_PLAYING = {"audio": 'controls preload="none"', "video": "loop autoplay muted controls playsinline"}


Facts = Sequence[tuple[str, str]]  # value, what it is: a row of small cards


class Figure(NamedTuple):
    """The samples of one step: a picture of all, and those that can be played, as relative paths."""

    step: int
    picture: str
    played: Sequence[str] = ()


class Part(NamedTuple):
    """What a page of several runs shows of one: its name, the relative path of its own page, and samples."""

    title: str
    link: str
    facts: Facts
    figure: Figure

    def below(self, folder: str) -> "Part":
        """The same for a page in the folder above ``folder``."""
        step, *paths = self.figure.step, self.link, self.figure.picture, *self.figure.played
        link, picture, *played = (f"{folder}/{path}" for path in paths)
        return self._replace(link=link, figure=Figure(step, picture, played))


def write(run: Run, finished: bool) -> None:
    """Writes the page anew from what is in the run folder."""
    recipe = run.recipe()
    rows = read_rows(run)
    grids = {_step(path.parent.name): path for path in run.samples.glob("step-*/grid.png")}
    figures = [figure(run.path, step, grids[step]) for step in sorted(grids, reverse=True)]
    facts = _facts(rows, recipe.training.steps, finished)
    text = render(recipe.name or run.path.name, facts, rows, figures, run.recipe_path.read_text(), finished)
    files.write_text(run.index, text)


def figure(root: Path, step: int, grid: Path) -> Figure:
    """The samples beside a grid, for a page in the folder ``root``."""
    paths = [path.relative_to(root).as_posix() for path in [grid, *played(grid.parent)]]
    return Figure(step, paths[0], paths[1:])


def render(
    title: str,
    facts: Facts,
    rows: Sequence[dict[str, Any]],
    figures: Sequence[Figure],
    recipe: str,
    finished: bool,
) -> str:
    """Returns the page as text.

    Args:
        title: the run's name.
        rows: logged rows with ``step`` and ``loss``.
        figures: the samples of some steps, those to show first in front.
        recipe: YAML text.
        finished: a page of a run in progress reloads itself.
    """
    samples = _samples([_figure(*figure) for figure in figures])
    body = (
        f"{_cards(facts)}{samples}<h2>Loss</h2>{curve([(row['step'], row['loss']) for row in rows])}"
        f"<h2>Recipe</h2><pre>{html.escape(recipe)}</pre>"
    )
    return _document(title, "a run of mmdiff", body, finished)


def overview(title: str, lead: str, parts: Sequence[Part]) -> str:
    """Returns, as text, the page that shows several runs side by side; ``lead`` says what they are."""
    return _document(title, lead, f'<div class="beside">{"".join(map(_part, parts))}</div>', finished=True)


def curve(points: Sequence[tuple[float, float]]) -> str:
    """Returns the loss by step as SVG, the loss on a logarithmic axis."""
    points = thin([(step, loss) for step, loss in points if loss > 0 and math.isfinite(loss)])
    if len(points) < 2:
        return "<p>Nothing logged yet.</p>"
    low, high = (math.log(f(loss for _, loss in points)) for f in (min, max))
    span, last = max(high - low, 0.02), points[-1][0]
    right, top, bottom = WIDTH - 12, 12, HEIGHT - BOTTOM

    def across(share: float) -> float:
        return LEFT + (right - LEFT) * share

    def down(share: float) -> float:
        return bottom - (bottom - top) * share

    marks = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y, loss = across(share), down(share), math.exp(low + span * share)
        anchor = "end" if share == 1 else "middle"
        marks += [
            f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>',
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{loss:.3g}</text>',
            f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{round(last * share):,}</text>',
        ]
    places = ((across(step / last), down((math.log(loss) - low) / span)) for step, loss in points)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    path = f'<polyline points="{line}" fill="none" stroke="var(--blue)" stroke-width="1.6"/>'
    frame = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="loss by step">'
    return f"{frame}{''.join(marks)}{path}</svg>"


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns at most 400 points: means over equal groups of neighbours."""
    size = math.ceil(len(points) / POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), max(size, 1))]
    return [(sum(step for step, _ in g) / len(g), sum(loss for _, loss in g) / len(g)) for g in groups]


def _document(title: str, lead: str, body: str, finished: bool) -> str:
    """A whole page around HTML; ``lead`` stands under the title."""
    name = html.escape(title)
    reload = "" if finished else f'<meta http-equiv="refresh" content="{RELOAD}">'
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{reload}<title>{name}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{name}</h1><p>{html.escape(lead)}</p>{body}</main></body></html>\n"
    )


def _part(part: Part) -> str:
    link = html.escape(part.link, quote=True)
    head = f'<h2>{html.escape(part.title)}</h2><p><a href="{link}">loss and recipe</a></p>'
    return f"<section>{head}{_cards(part.facts)}{_figure(*part.figure)}</section>"


def _facts(rows: Sequence[dict[str, Any]], steps: int, finished: bool) -> Facts:
    if not rows:
        return [(f"0 / {steps:,}", "steps")]
    last = rows[-1]
    return [
        (f"{last['step']:,} / {steps:,}", "steps"),
        (f"{last['samples_seen']:,}", "samples seen"),
        (f"{last['loss']:.4f}", "loss"),
        (f"{last['samples_per_second']:.0f}", "samples a second"),
        (clock(last["seconds"]), "training time"),
        ("finished" if finished else "training", "state"),
    ]


def _cards(facts: Facts) -> str:
    cards = "".join(
        f"<div><b>{html.escape(value)}</b><span>{html.escape(what)}</span></div>" for value, what in facts
    )
    return f'<div class="facts">{cards}</div>'


def _samples(figures: Sequence[str]) -> str:
    """The newest figure, the others folded away."""
    if not figures:
        return ""
    newest, *older = figures
    rest = f"<details><summary>{len(older)} earlier</summary>{''.join(older)}</details>" if older else ""
    return f"<h2>Samples</h2>{newest}{rest}"


def _figure(step: int, path: str, samples: Sequence[str]) -> str:
    link = html.escape(path, quote=True)
    picture = f'<a href="{link}"><img src="{link}" alt="samples"></a>'
    players = "".join(map(_player, samples))
    players = f'<div class="played">{players}</div>' if players else ""
    return f"<figure><figcaption>step {step:,}</figcaption>{picture}{players}</figure>"


def _player(path: str) -> str:
    """A sound or a clip under the words that it was asked for, which its file is named after."""
    name, kind = html.escape(Path(path).stem.replace("-", " ")), plays(Path(path).suffix)
    source = html.escape(path, quote=True)
    return f'<div>{name}<{kind} {_PLAYING[kind]} src="{source}"></{kind}></div>'


def _step(name: str) -> int:
    return int(name.removeprefix("step-"))
