"""The demonstrations: train on what code makes, then see whether the captions hold.

No data, no download and no account; what the model drew is read by a judge that shares no code with what made
the training data.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from mmdiff import files
from mmdiff import recipe as recipes
from mmdiff.data import bounce, shapes, tones
from mmdiff.generation.pipeline import Ask, Generated, load
from mmdiff.generation.sheet import contact
from mmdiff.metrics import pitch, trajectory
from mmdiff.metrics.intervals import Rate, wilson
from mmdiff.metrics.shapes import agreement, judge
from mmdiff.run import Run
from mmdiff.training import page
from mmdiff.training.gallery import file_name, played
from mmdiff.training.loggers import read_rows
from mmdiff.training.progress import clock
from mmdiff.training.session import train

SHOWN, JUDGED = 16, 96  # samples in the grid, and in the shares that are printed
NEAR = 1.5  # pixels: the median distance of a clip from the path that was asked for

Truths = Sequence[dict[str, Any]]
Overrides = Mapping[str, Sequence[str]]
NONE: Overrides = MappingProxyType({})


@dataclass(frozen=True)
class Demo:
    """One demonstration.

    Attributes:
        recipe: what is trained.
        truths: what so many samples are asked to be.
        conditions: columns of a truth that are asked for beside its text.
        judged: how often the samples are what was asked for.
        counted: what the shares are shares of.
        cards: for the page, some of the shares and what they say.
        born: the demonstration whose net it is born from, and the steps of that where there is no run yet.
    """

    recipe: str
    truths: Callable[[int], list[dict[str, Any]]]
    conditions: tuple[str, ...]
    judged: Callable[[Sequence[Generated], Truths], Mapping[str, Rate]]
    counted: str
    cards: Mapping[str, str]
    born: tuple[str, int] | None = None

    def ask(self, truth: Mapping[str, Any]) -> Ask:
        """The words and values of a truth."""
        return truth["text"], {name: str(truth[name]) for name in self.conditions}


def demo(
    what: str,
    out: Path,
    overrides: Overrides = NONE,
    say: Callable[[str], None] | None = None,
    born: Path | None = None,
) -> page.Part:
    """Trains in ``out/run`` and leaves ``out/grid.png``, ``out/index.html``, and sounds or clips to play.

    Interrupted, the same call goes on where it was.

    Args:
        what: one of ``DEMOS``.
        out: a folder, made when it is not there.
        overrides: settings of the recipes, by demonstration.
        say: takes the lines for the person; stderr by default.
        born: the run that a new net is born from, if it is; by default one is trained in ``out/born``.

    Returns:
        What its page shows; paths are relative to ``out``.
    """
    say, chosen, begun = say or _to_stderr, DEMOS[what], time.monotonic()
    run, recipe = Run(out / "run"), recipes.load(chosen.recipe).override(overrides.get(what, ()))
    if chosen.born:
        parent, steps = chosen.born
        if run.recipe_path.exists():
            origin = run.recipe().init
        else:
            shorter = [f"training.steps={steps}", *overrides.get(parent, ())]
            origin = str(born or train(DEMOS[parent].recipe, run=out / "born", overrides=shorter))
        recipe = dataclasses.replace(recipe, init=origin)
    train(recipe, run=run.path)
    truths = chosen.truths(JUDGED)
    drawn = list(load(run.path).each([chosen.ask(truth) for truth in truths]))
    shown = drawn[:SHOWN]
    contact(shown, [truth["text"] for truth in truths[:SHOWN]], out / "grid.png")
    rates = {name: rate for name, rate in chosen.judged(drawn, truths).items() if name in chosen.cards}
    made = _page(chosen, run, rates, _played(shown, out))
    wide = max(map(len, rates))
    for name, rate in rates.items():
        between = f"95 % interval {rate.low:.0%} to {rate.high:.0%}"
        say(f"{name:<{wide}} {rate.share:.0%} of {rate.trials} {chosen.counted} ({between})")
    say(f"{out / 'grid.png'}; {clock(time.monotonic() - begun)} in all")
    return made


def all_demos(out: Path, overrides: Overrides = NONE, say: Callable[[str], None] | None = None) -> Path:
    """Makes every demonstration, each in a folder of its own below ``out``, and a page that shows them all.

    Interrupted, the same call goes on where it was.

    Args:
        out: a folder, made when it is not there.
        overrides: as for ``demo``.
        say: as for ``demo``.

    Returns:
        The page, ``out/index.html``.
    """
    parts = list[page.Part]()
    for what, chosen in DEMOS.items():
        born = out / chosen.born[0] / "run" if chosen.born else None
        parts.append(demo(what, out / what, overrides, say, born).below(what))
    lead = "one diffusion core, three kinds of samples, and how often they are what was asked for"
    files.write_text(out / "index.html", page.overview("mmdiff demo", lead, parts))
    return out / "index.html"


def captions(count: int) -> list[dict[str, Any]]:
    """Returns ``count`` truths about pictures that take turns in colour, shape and position."""
    colours, forms, places = (list(table) for table in (shapes.COLOURS, shapes.SHAPES, shapes.POSITIONS))
    return [
        shapes.truth(colours[i % 8], forms[(i + i // 24) % 6], places[(4 * i + i // 72) % 9])
        for i in range(count)
    ]


def notes(count: int) -> list[dict[str, Any]]:
    """Returns ``count`` truths about notes that take turns in pitch, timbre and loudness; 120 differ."""
    pitches, timbres, levels = list(tones.PITCHES), list(tones.TIMBRES), list(tones.VELOCITIES)
    return [tones.truth(pitches[7 * i % 40], timbres[i % 6], levels[i // 6 % 2]) for i in range(count)]


def motions(count: int) -> list[dict[str, Any]]:
    """Returns ``count`` truths about clips that take turns in colour, shape and direction."""
    colours, forms, ways = list(shapes.COLOURS), list(shapes.SHAPES), list(bounce.DIRECTIONS)
    return [
        bounce.truth(colours[i % 8], forms[(i + i // 24) % 6], ways[(i // 2 + i // 24) % 6])
        for i in range(count)
    ]


def _judge_pictures(drawn: Sequence[Generated], truths: Truths) -> Mapping[str, Rate]:
    return agreement([judge(generated.sample.value) for generated in drawn], truths)


def _judge_notes(drawn: Sequence[Generated], truths: Truths) -> Mapping[str, Rate]:
    waves = torch.stack([generated.sample.value.mean(0) for generated in drawn])
    found = pitch.pitch(waves, drawn[0].sample.sample_rate)
    return pitch.agreement(found, torch.tensor([float(truth["pitch"]) for truth in truths]))


def _judge_clips(drawn: Sequence[Generated], truths: Truths) -> Mapping[str, Rate]:
    """How often a clip shows the right thing in most frames, moves the right way, and near to the law."""
    right = list[dict[str, bool]]()
    for generated, truth in zip(drawn, truths, strict=True):
        found = trajectory.fit(trajectory.track(generated.sample.value), truth, float(generated.sample.fps))
        kept = {
            "thing": found.identity > 0.5,
            "direction": found.heading,
            "path": found.error <= NEAR,
            "moving": not found.frozen,
        }
        right.append(kept | {"all": all(kept.values())})
    return {name: wilson(sum(row[name] for row in right), len(right)) for name in right[0]}


DEMOS = {
    "image": Demo(
        "image/shapes",
        captions,
        (),
        _judge_pictures,
        "captions hold",
        {
            "colour": "colour holds",
            "shape": "shape holds",
            "position": "position holds",
            "all": "all three hold",
        },
    ),
    "audio": Demo(
        "audio/tones",
        notes,
        ("pitch", "timbre"),
        _judge_notes,
        "notes, in cents of the asked pitch",
        {"within 20": "within 20 cents", "within 50": "within 50 cents"},
    ),
    "video": Demo(
        "video/bounce",
        motions,
        (),
        _judge_clips,
        "captions hold",
        {
            "thing": "colour and shape hold",
            "direction": "direction holds",
            "path": f"within {NEAR} pixels of the path",
            "moving": "do not stand still",
            "all": "all of these",
        },
        born=("image", 300),
    ),
}


def _played(shown: Sequence[Generated], out: Path) -> list[str]:
    """Writes the samples that can be played, and returns their paths below ``out``; none of pictures."""
    if not shown[0].modality.plays:
        return []
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    for old in played(folder):
        old.unlink()
    names = [file_name(number, generated) for number, generated in enumerate(shown)]
    for name, generated in zip(names, shown, strict=True):
        generated.save(folder / name)
    return [f"samples/{name}" for name in names]


def _page(chosen: Demo, run: Run, rates: Mapping[str, Rate], media: Sequence[str]) -> page.Part:
    """Writes the run's page, with the judged shares as facts and the captioned grid as the only figure."""
    rows, recipe = read_rows(run), run.recipe()
    facts = [(f"{rates[name].share:.0%}", what) for name, what in chosen.cards.items()]
    facts.append((clock(rows[-1]["seconds"]), "training time"))
    made = page.Part(chosen.recipe, "index.html", facts, page.Figure(rows[-1]["step"], "grid.png", media))
    title = f"mmdiff demo: {recipe.name}"
    text = page.render(title, facts, rows, [made.figure], recipes.dump(recipe), finished=True)
    files.write_text(run.path.parent / made.link, text)
    return made


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
