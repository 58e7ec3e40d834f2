"""The command line that all measures share: a table, and with --json the whole report as the last line."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from mmdiff.errors import UserError


def run(
    name: str,
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Mapping[str, Any]],
    show: Callable[[Mapping[str, Any]], None],
) -> int:
    """Measures and shows; returns the exit code: 0 done, 2 the input was wrong.

    Args:
        name: of the measure, before what it complains of.
        parser: its options.
        arguments: the words; those of the process when None.
        measure: options -> the report.
        show: prints the report as a table.
    """
    parser.add_argument("--json", action="store_true", help="ends with the whole report as one line of JSON")
    options = parser.parse_args(arguments)
    try:
        report = measure(options)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    show(report)
    if options.json:
        print(json.dumps(report, default=_plain))
    return 0


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
