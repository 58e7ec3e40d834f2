import json

import pytest

from mmdiff.evaluation.measure import Kind, Row
from mmdiff.evaluation.report import Report, number
from mmdiff.metrics.intervals import Figure

FACTS = {
    **{"run": "runs/x", "recipe": "x", "step": 7, "weights": "ema", "model_sha256": "0", "modality": "audio"},
    **{"noun": "sounds", "size": "1.0s", "data": "notes.tar", "n": 9, "seed": 0, "sampler": "euler"},
    **{"grid": "uniform", "steps": 4, "guidance": 2.0},
}
WIDE = Figure(-0.0123, -1234.5, 9.99e5, 9)
ROWS = [
    Row(
        "one",
        "cents, lower is better",
        Kind.SET,
        dict.fromkeys(("generated", "floor", "silence", "noise"), WIDE),
    ),
    Row("two", "%", Kind.TWIN, dict.fromkeys(("generated", "floor", "silence", "noise", "shuffled"), WIDE)),
]


def test_the_table_fits_and_leaves_out_what_means_nothing():
    report = Report(FACTS, ROWS, ["a note"])
    lines = report.table().splitlines()
    assert max(map(len, lines)) <= 110
    assert lines[-1] == "a note"
    (head,) = (line for line in lines if line.split()[:1] == ["generated"])
    assert head.split() == ["generated", "floor", "silence", "noise", "shuffled"]
    (one,) = (line for line in lines if line.startswith("one"))
    assert len(one.split()) == 5
    assert "silence and noise in their place" in " ".join(lines)


def test_json_has_every_figure(tmp_path):
    report = Report(FACTS, ROWS, ["a note"])
    paths = report.write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.json", "report.md"]
    told = json.loads(paths[0].read_text())
    assert told == json.loads(json.dumps(report.as_dict()))
    assert told["measures"]["two"]["shuffled"] == {"value": -0.0123, "low": -1234.5, "high": 9.99e5, "n": 9}
    assert "shuffled" not in told["measures"]["one"]
    assert told["notes"] == ["a note"]
    page = paths[1].read_text()
    assert "| one | cents, lower is better | **-0.012** (-1234 to 999k) |" in page
    assert page.startswith("# runs/x: 9 sounds of 1.0s beside notes.tar\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (-0.0123, "-0.012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (999.7, "1000"),
        (-1234.5, "-1234"),
        (12345, "12.3k"),
        (999_900, "1M"),
        (1.5e6, "1.5M"),
    ],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown
