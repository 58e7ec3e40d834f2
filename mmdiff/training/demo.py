"""The demonstration: train on shapes drawn by code, then see whether the captions hold.

No data, no download and no account; what the model drew is read by a judge that shares no code with what drew
the training pictures.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdiff import files
from mmdiff import recipe as recipes
from mmdiff.data import shapes
from mmdiff.generation.pipeline import load
from mmdiff.generation.sheet import sheet
from mmdiff.metrics.shapes import Rate, agreement, judge
from mmdiff.run import Run
from mmdiff.training import page
from mmdiff.training.loggers import read_rows
from mmdiff.training.progress import clock
from mmdiff.training.session import train

RECIPE = "image/shapes"
SHOWN, JUDGED = 16, 96  # pictures in the grid, and in the shares that are printed


def demo_image(out: Path, overrides: Sequence[str] = (), say: Callable[[str], None] | None = None) -> Path:
    """Trains the shapes recipe in ``out/run`` and leaves ``out/grid.png`` and ``out/index.html``.

    Interrupted, the same call goes on where it was.

    Args:
        out: a folder, made when it is not there.
        overrides: settings of the recipe.
        say: takes the lines for the person; stderr by default.

    Returns:
        The page.
    """
    say = say or _to_stderr
    begun = time.monotonic()
    run = Run(train(RECIPE, run=out / "run", overrides=overrides))
    truths = captions(JUDGED)
    drawn = list(load(run.path).sample([truth["text"] for truth in truths]))
    texts = [truth["text"] for truth in truths[:SHOWN]]
    picture = sheet([generated.picture for generated in drawn[:SHOWN]], texts)
    with files.replacing(out / "grid.png") as part:
        picture.save(part, format="PNG")
    rates = agreement([judge(generated.sample.value) for generated in drawn], truths)
    files.write_text(out / "index.html", _page(run, rates))
    for name, rate in rates.items():
        between = f"95 % interval {rate.low:.0%} to {rate.high:.0%}"
        say(f"{name:<9} {rate.share:.0%} of {rate.trials} captions hold ({between})")
    say(f"{out / 'grid.png'}; {clock(time.monotonic() - begun)} in all")
    return out / "index.html"


def captions(count: int) -> list[dict[str, Any]]:
    """Returns ``count`` truths about pictures that take turns in colour, shape and position."""
    colours, forms, places = (list(table) for table in (shapes.COLOURS, shapes.SHAPES, shapes.POSITIONS))
    return [
        shapes.truth(colours[i % 8], forms[(i + i // 24) % 6], places[(4 * i + i // 72) % 9])
        for i in range(count)
    ]


def _page(run: Run, rates: Mapping[str, Rate]) -> str:
    """The run's page with the judged shares as facts and the captioned grid as the only figure."""
    rows, recipe = read_rows(run), run.recipe()
    names = {
        "colour": "colour holds",
        "shape": "shape holds",
        "position": "position holds",
        "all": "all three hold",
    }
    facts = [(f"{rates[name].share:.0%}", what) for name, what in names.items()]
    facts.append((clock(rows[-1]["seconds"]), "training time"))
    grid = [(rows[-1]["step"], "grid.png")]
    return page.render("mmdiff demo: shapes", facts, rows, grid, recipes.dump(recipe), finished=True)


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
