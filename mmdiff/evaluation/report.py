"""The report of an evaluation: for people a table, for programs JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmdiff import files
from mmdiff.evaluation.measure import Row
from mmdiff.metrics.intervals import Figure

_NAME, _CELL = 25, 17  # characters of the columns of the table: 110 with five cells
_LEGEND = (
    "Under each figure its 95 % interval over samples. generated: drawn with the conditions of real samples.",
    "floor: real samples in their place, these themselves or the most alike of others; no model needs more.",
    "Ceilings, which a model must stay clear of: {ceilings} in their place; shuffled, each judged by",
    "what was asked of another.",
)


@dataclass(frozen=True, eq=False)
class Report:
    """What was measured, and of what.

    Attributes:
        facts: all that decides the numbers.
        rows: the measures.
        notes: lines that a reader needs beside them.
    """

    facts: Mapping[str, Any]
    rows: Sequence[Row]
    notes: Sequence[str]

    @property
    def columns(self) -> list[str]:
        """Of the table, in order."""
        return list(dict.fromkeys(column for row in self.rows for column in row.figures))

    def as_dict(self) -> dict[str, Any]:
        """The whole report as JSON types; a figure has value, low, high and n."""
        measures = {
            row.name: {"unit": row.unit, "compared_with": row.kind.value}
            | {column: asdict(figure) for column, figure in row.figures.items()}
            for row in self.rows
        }
        return {**self.facts, "measures": measures, "notes": list(self.notes)}

    def table(self) -> str:
        """The report for a terminal, at most 110 characters wide, or 127 where clips have a sixth column."""
        head = "".join(f"{column:>{_CELL}}" for column in self.columns)
        lines = [*self._heading(), "", f"{'':<{_NAME}}{head}"]
        for row in self.rows:
            lines += [
                _line(row.name, row, self.columns, short),
                _line(f"  {row.unit}", row, self.columns, span),
            ]
        return "\n".join([*lines, "", *self._legend(), *self.notes])

    def markdown(self) -> str:
        """The report as a page."""
        names = ["measure", "unit", *self.columns]
        lines = [_cells(names), _cells(["---"] * len(names))]
        for row in self.rows:
            found = [row.figures.get(column) for column in self.columns]
            told = ["" if figure is None else f"**{short(figure)}** ({span(figure)})" for figure in found]
            lines.append(_cells([row.name, row.unit, *told]))
        title, *rest = self._heading()
        text = [" ".join(self._legend()), *(f"- {note}" for note in self.notes)]
        return "\n".join([f"# {title}", "", *rest, "", *lines, "", *text, ""])

    def write(self, folder: Path) -> list[Path]:
        """Writes report.json and report.md into a folder, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "report.json", folder / "report.md"]
        files.write_text(paths[0], json.dumps(self.as_dict(), indent=1) + "\n")
        files.write_text(paths[1], self.markdown())
        return paths

    def _heading(self) -> list[str]:
        f = self.facts
        return [
            f"{f['run']}: {f['n']} {f['noun']} of {f['size']} beside {f['data']}",
            f"step {f['step']} ({f['weights']}), {f['sampler']} on {f['grid']}, {f['steps']} steps, "
            f"guidance {f['guidance']:g}, seed {f['seed']}",
        ]

    def _legend(self) -> list[str]:
        *others, last = [name for name in self.columns if name not in ("generated", "floor", "shuffled")]
        return [line.format(ceilings=f"{', '.join(others)} and {last}") for line in _LEGEND]


def _line(name: str, row: Row, columns: Sequence[str], told: Any) -> str:
    """One line of the table; a figure that is not there leaves its place empty."""
    found = [row.figures.get(column) for column in columns]
    cells = "".join(f"{'' if figure is None else told(figure):>{_CELL}}" for figure in found)
    return f"{name:<{_NAME}}{cells}".rstrip()


def _cells(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def short(figure: Figure) -> str:
    """The value, in as many digits as tell something."""
    return number(figure.value)


def span(figure: Figure) -> str:
    """The interval."""
    return f"{number(figure.low)} to {number(figure.high)}"


def number(value: float) -> str:
    """At most six characters and a sign: about three digits, k for thousands and M for millions."""
    size = abs(value)
    if not size:
        return "0"
    for least, one, unit in ((999_500, 1e6, "M"), (9_999.5, 1e3, "k")):  # what is rounded up to it is it
        if size >= least:
            return f"{value / one:.3g}{unit}"
    decimals = 3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:.{decimals}f}"
