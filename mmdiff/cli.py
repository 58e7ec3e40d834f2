"""The command ``mmdiff``: finds the verb, runs it, and turns what happened into an exit code.

0 done; 1 failed while working; 2 the input was wrong; 130 Ctrl-C; 143 stopped by SIGTERM after saving. A
wrong input or a failure is one line on stderr; ``--debug`` adds the traceback.
"""

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TextIO

import mmdiff
from mmdiff.commands import VERBS, Verb
from mmdiff.errors import UserError
from mmdiff.naming import suggestion

DESCRIPTION = (
    "Train diffusion models on your own pictures, sounds and clips and sample from them, on any machine."
)
EXAMPLES = """\
start here:
  mmdiff demo                                        train a small model, see what it draws
  mmdiff recipe list                                 the recipes that come with the package
  mmdiff data audit PICTURES                         what of a folder can be used
  mmdiff train image/folder --data PICTURES          learn from it; the same command again resumes
  mmdiff sample runs/folder --prompt "a red heart"   draw
  mmdiff eval runs/folder --data PICTURES            how near it comes to real ones, with floor and ceilings
  mmdiff data audit SOUNDS --modality audio          sounds and clips go the same way

`mmdiff VERB --help` explains each verb with examples.
exit codes: 0 done; 1 failed while working; 2 the input was wrong; 130 Ctrl-C; 143 SIGTERM, after saving
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the examples, and one line for most options."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


class Parser(argparse.ArgumentParser):
    """Argparse whose errors are ``UserError`` and name the nearest valid word; without abbreviations."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False, formatter_class=_Formatter)
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show an error's traceback"
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see '{self.prog} --help')")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "/".join(action.option_strings) or str(action.metavar or action.dest).lower()
            raise UserError(f"unknown {what} {value!r}{suggestion(str(value), map(str, action.choices))}")


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="mmdiff", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"mmdiff {mmdiff.__version__}")
    _add_verbs(parser, VERBS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line (``sys.argv`` when none is given) and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return _run(words)
        except UserError as error:
            return _report(2, str(error), words)
        except KeyboardInterrupt:
            return _report(130, "interrupted", words)
        except BrokenPipeError:
            # Whoever read our output has left, as `head` does; keep Python from complaining at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except SystemExit as end:
            return _report(1, end.code, words) if isinstance(end.code, str) else end.code or 0
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            return _report(1, f"failed: {what} (--debug shows where)", words)


def _run(words: Sequence[str]) -> int:
    parser = build_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    args, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(unknown, args.parser)
    code: int = args.work(args)
    return code


def _add_verbs(parser: argparse.ArgumentParser, verbs: Mapping[str, Verb]) -> None:
    group = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, verb in verbs.items():
        child = group.add_parser(name, help=verb.summary, description=verb.summary, epilog=verb.examples)
        verb.options(child)
        child.set_defaults(work=verb.work, parser=child)
        if verb.verbs:
            _add_verbs(child, verb.verbs)


def _refuse(unknown: Sequence[str], parser: argparse.ArgumentParser) -> NoReturn:
    """Says which word of the command line nobody understands."""
    options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    if not options:
        raise UserError(f"unexpected argument {unknown[0]!r} (see '{parser.prog} --help')")
    valid = sorted(name for action in parser._actions for name in action.option_strings)
    raise UserError(f"unknown option {options[0]!r} of '{parser.prog}'{suggestion(options[0], valid)}")


def _report(code: int, message: str, words: Sequence[str]) -> int:
    if "--debug" in words:
        traceback.print_exc()
    print("mmdiff:", " ".join(message.split()), file=sys.stderr)
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line, without the place in the code, which is no help to a user."""
    print(f"mmdiff: warning: {str(message).splitlines()[0]}", file=sys.stderr)
