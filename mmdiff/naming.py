"""What words mean: parts named by strings, ``"karras(rho=7)"``, in a visible table, and numbers."""

import ast
import difflib
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmdiff.errors import UserError

_SPEC = re.compile(r"\s*([\w.+-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that looks most like ``name``, or None when none comes close."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the nearest valid name, and all of them."""
    names = list(valid)
    near = nearest(name, names)
    hint = f"; did you mean {near!r}?" if near else ";"
    return f"{hint} valid: {', '.join(names) or 'none'}"


def choose(table: Mapping[str, Callable[..., Any]], spec: str, what: str) -> Callable[..., Any]:
    """The entry of ``table`` that ``spec`` names, with the options of ``spec`` bound.

    ``spec`` is ``"name"`` or ``"name(key=value, ...)"`` where values are literals (numbers, strings, tuples).
    Options are the callee's parameters that have a default or are keyword-only; the others are left to
    whoever calls the result.

    Args:
        what: the kind of thing, for messages: "sampler", "grid", ...

    Raises:
        UserError: not of this form, or an unknown name or option; names the nearest valid one.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UserError(f"{what} {spec!r} is not of the form 'name' or 'name(key=value, ...)'")
    name, inside = match[1], match[2]
    if name not in table:
        raise UserError(f"unknown {what} {name!r}{suggestion(name, table)}")
    options = _options(inside, spec, what) if inside else {}
    _check_options(table[name], options, f"{what} {name!r}")
    return functools.partial(table[name], **options) if options else table[name]


def said(word: object) -> float:
    """The number that a word or a cell of metadata says, such as 24, "24" or "24000/1001"; else nan."""
    whole, slash, parts = str(word).partition("/")
    try:
        return float(whole) / float(parts) if slash else float(whole)
    except (ValueError, ZeroDivisionError):
        return math.nan


def _options(inside: str, spec: str, what: str) -> dict[str, Any]:
    """The literals of ``key=value, ...``."""
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
            raise ValueError("options are written key=value")
        return {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UserError(
            f"{what} {spec!r}: options are written key=value with plain numbers, strings or tuples"
        ) from error


def _check_options(entry: Callable[..., Any], options: Mapping[str, Any], what: str) -> None:
    valid = {
        name: parameter.default
        for name, parameter in inspect.signature(entry).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        or (parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is not parameter.empty)
    }
    for name, value in options.items():
        if name not in valid:
            raise UserError(f"{what} has no option {name!r}{suggestion(name, valid)}")
        kind = _kind(valid[name])
        if kind and _kind(value) != kind:
            raise UserError(
                f"option {name!r} of {what}: got {value!r}, expected a {kind} such as {valid[name]!r}"
            )


def _kind(value: object) -> str:
    """What messages call a number or a word; nothing for other values, which the entry checks itself."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return "word" if isinstance(value, str) else ""
