"""YAML text -> frozen dataclasses, with errors that say where, which key, what came and what was expected.

YAML supplies text and structure; the type of the field says what the text means. So ``1e-4`` is a float where
a float is expected, ``no`` stays a string where a string is expected, and nothing in a file can name code to
run. Understood types: int, float, bool, str, ``X | None``, ``tuple[X, ...]``, ``tuple[X, Y]``, ``dict[str,
X]``, dataclasses, and any of them narrowed by ``Annotated[X, Range(...)]``, ``OneOf(...)`` or ``Form(...)``.
"""

import dataclasses
import math
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import yaml

from mmdiff.errors import UserError
from mmdiff.naming import nearest, suggestion


@dataclasses.dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, both included; ``above`` and ``below`` exclude their end."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high and self.above < value < self.below

    def __str__(self) -> str:
        bounds = {">=": self.low, ">": self.above, "<=": self.high, "<": self.below}
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if math.isfinite(bound))


@dataclasses.dataclass(frozen=True, init=False)
class OneOf:
    """One of a few names."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)

    def holds(self, value: str) -> bool:
        return value in self.names

    def __str__(self) -> str:
        return "one of " + ", ".join(self.names)


@dataclasses.dataclass(frozen=True)
class Form:
    """Text of a given form: ``pattern`` must match the whole of it, ``says`` describes it."""

    pattern: str
    says: str

    def holds(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.says


def compose(text: str, origin: str) -> yaml.Node | None:
    """The node tree of one YAML document; every node knows ``origin`` and its line.

    Raises:
        UserError: the text is not YAML.
    """
    try:
        loader = yaml.SafeLoader(text)
        loader.name = origin
        return loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}" if mark and "\n" in text.strip() else origin
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where}: not valid YAML: {problem}") from error


def convert(node: yaml.Node, kind: Any, key: str = "") -> Any:
    """The value of type ``kind`` that ``node`` writes; ``key`` is its dotted name in messages.

    Raises:
        UserError: an unknown, repeated or missing key, a wrong type or a value out of range.
    """
    if get_origin(kind) is Annotated:
        base, *rules = get_args(kind)
        value = convert(node, base, key)
        for rule in rules:
            if not rule.holds(value):
                hint = nearest(value, rule.names) if isinstance(rule, OneOf) else None
                raise _wrong(node, key, str(rule) + (f"; did you mean {hint!r}?" if hint else ""))
        return value
    if get_origin(kind) in (Union, types.UnionType):
        (inner,) = (choice for choice in get_args(kind) if choice is not type(None))
        return None if _is_null(node) else convert(node, inner, key)
    if get_origin(kind) is tuple:
        return _tuple(node, get_args(kind), key)
    if get_origin(kind) is dict:
        inner = get_args(kind)[1]
        return {name: convert(value, inner, _join(key, name)) for name, _, value in _items(node, key)}
    if dataclasses.is_dataclass(kind):
        return _dataclass(node, kind, key)
    return _scalar(node, kind, key)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as the dicts and lists that YAML writes."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple) else value


class _Dumper(yaml.SafeDumper):
    """One key a line, lists on one line: a recipe reads and compares well."""

    def text(self, value: str) -> yaml.Node:
        # Quoted with escapes where PyYAML's other styles lose something: it folds U+0085 into a space.
        return self.represent_scalar("tag:yaml.org,2002:str", value, None if value.isprintable() else '"')

    def row(self, value: list[Any]) -> yaml.Node:
        return self.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(str, _Dumper.text)
_Dumper.add_representer(list, _Dumper.row)


def dump(value: Any) -> str:
    """Complete YAML of a dataclass; ``convert`` of it gives an equal one."""
    text: str = yaml.dump(plain(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def graft(root: yaml.Node, key: str, value: yaml.Node) -> None:
    """Puts ``value`` at the dotted ``key`` of a node tree, making the mappings on the way."""
    *parents, last = key.split(".")
    here = root
    for name in parents:
        here = _child(
            here, name, yaml.MappingNode("tag:yaml.org,2002:map", [], value.start_mark, value.end_mark)
        )
    if isinstance(here, yaml.MappingNode):
        here.value = [(name, old) for name, old in here.value if name.value != last]
        here.value.append(
            (yaml.ScalarNode("tag:yaml.org,2002:str", last, value.start_mark, value.end_mark), value)
        )


def place(node: yaml.Node) -> str:
    """Where a node was written: ``file:line``, or the name alone for text given on the command line."""
    mark = node.start_mark
    return str(mark.name) if mark.name.startswith("--") else f"{mark.name}:{mark.line + 1}"


def _child(here: yaml.Node, name: str, new: yaml.MappingNode) -> yaml.Node:
    """The mapping under ``name``; ``new`` is put there when there is none."""
    if not isinstance(here, yaml.MappingNode):
        return here
    for key, value in here.value:
        if key.value == name and isinstance(value, yaml.MappingNode):
            return value
    mark = new.start_mark
    here.value = [(key, value) for key, value in here.value if key.value != name]
    here.value.append((yaml.ScalarNode("tag:yaml.org,2002:str", name, mark, mark), new))
    return new


def _dataclass(node: yaml.Node, kind: Any, key: str) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for name, key_node, value in _items(node, key):
        if name not in hints:
            full = _join(key, name)
            raise UserError(
                f"{place(key_node)}: unknown key {full!r}{suggestion(full, (_join(key, n) for n in hints))}"
            )
        values[name] = convert(value, hints[name], _join(key, name))
    for field in dataclasses.fields(kind):
        if field.name not in values and _required(field):
            raise UserError(f"{place(node)}: missing key {_join(key, field.name)!r}")
    return kind(**values)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _items(node: yaml.Node, key: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """(name, node of the name, node of the value) of a mapping; each name once."""
    if _is_null(node):
        return
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, key, "a mapping of keys to values")
    seen = set()
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise _wrong(name, key, "a plain name as key")
        if name.value in seen:
            raise UserError(f"{place(name)}: key {_join(key, name.value)!r} is given twice")
        seen.add(name.value)
        yield name.value, name, value


def _tuple(node: yaml.Node, kinds: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(node, key, "a list such as [1, 2]")
    if kinds[-1] is not Ellipsis and len(node.value) != len(kinds):
        raise _wrong(node, key, f"a list of {len(kinds)} values")
    each = kinds[:1] * len(node.value) if kinds[-1] is Ellipsis else kinds
    return tuple(
        convert(part, kind, f"{key}[{i}]")
        for i, (part, kind) in enumerate(zip(node.value, each, strict=True))
    )


def _scalar(node: yaml.Node, kind: type, key: str) -> Any:
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    if not isinstance(node, yaml.ScalarNode) or _is_null(node):
        raise _wrong(node, key, expected)
    try:
        return _READ[kind](node.value)
    except ValueError:
        raise _wrong(node, key, expected) from None


def _whole(text: str) -> int:
    """``20000``, ``20_000`` or ``2e4``."""
    try:
        return int(text)
    except ValueError:
        if float(text).is_integer():
            return int(float(text))
        raise


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("not a truth value")
    return words[text.lower()]


_READ: dict[type, Any] = {int: _whole, float: _finite, bool: _truth, str: str}


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _wrong(node: yaml.Node, key: str, expected: str) -> UserError:
    if isinstance(node, yaml.ScalarNode):
        came = repr(node.value) if node.value else "nothing"
    else:
        came = "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
    return UserError(f"{place(node)}: {key or 'the recipe'}: got {came}, expected {expected}")


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
