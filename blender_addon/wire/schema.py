# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a message's type annotations as its rules: what may stand in each field, checked in one place for both directions.

A field's annotation is a scalar type, an `Annotated` scalar with a `Text` or a `Span`, `X | None`, a union of scalars,
`tuple[X, ...]`, `dict[Name, X]`, or another dataclass. `check` judges a Python value, `build` makes one from plain JSON
values, `plain` does the reverse. All raise `ProtocolError` with a sentence that names the field.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from .errors import ProtocolError
from .limits import MAX_COUNT, MAX_ITEMS, MAX_NAME, MAX_TEXT


@dataclasses.dataclass(frozen=True)
class Text:
    """Rule of a string: printable, at most `most` characters, all of it matched by `pattern` (where there is one)."""

    most: int
    pattern: str = ""


@dataclasses.dataclass(frozen=True)
class Span:
    """Rule of a number: finite and in `least`..`most`."""

    least: float
    most: float


Name = Annotated[str, Text(MAX_NAME, r"[A-Za-z0-9][A-Za-z0-9._:-]*")]
Sentence = Annotated[str, Text(MAX_TEXT)]
Count = Annotated[int, Span(0, MAX_COUNT)]
Seconds = Annotated[float, Span(0.0, 1e9)]
Scalar = bool | int | float | str

_SCALARS: dict[type, Text | Span | None] = {
    bool: None,
    str: Text(MAX_TEXT),
    int: Span(-MAX_COUNT, MAX_COUNT),
    float: Span(-math.inf, math.inf),
}


@functools.cache
def fields_of(kind: type) -> dict[str, Any]:
    """The fields of a dataclass in order, with their annotations."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def check(hint: Any, value: Any, where: str) -> None:
    """Raise `ProtocolError` unless `value` is what the annotation `hint` allows; `where` names it in the sentence."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, rule = get_args(hint)
        _check_scalar(base, rule, value, where)
    elif origin in (Union, types.UnionType):
        _check_union(get_args(hint), value, where)
    elif origin is tuple:
        _check_items(get_args(hint)[0], value, where)
    elif origin is dict:
        _check_mapping(*get_args(hint), value, where)
    elif hint in _SCALARS:
        _check_scalar(hint, _SCALARS[hint], value, where)
    elif not isinstance(value, hint):
        raise ProtocolError(f"{where} is {shown(value)}; expected {describe(hint)}.")


def _check_scalar(kind: type, rule: Text | Span | None, value: Any, where: str) -> None:
    if not _is_a(kind, value):
        raise ProtocolError(f"{where} is {shown(value)}; expected {describe(kind)}.")
    if isinstance(rule, Text):
        _check_text(rule, value, where)
    elif isinstance(rule, Span) and not (_is_finite(value) and rule.least <= value <= rule.most):
        raise ProtocolError(f"{where} is {shown(value)}; expected {_range(rule)}.")


def _is_finite(value: float) -> bool:
    """Whole numbers are, even those that are too large for a float."""
    return isinstance(value, int) or math.isfinite(value)


def one_line(text: str) -> str:
    """A text as messages allow it: on one line, all white space a single blank, without characters that cannot be printed."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _range(rule: Span) -> str:
    return "a finite number" if math.isinf(rule.most) else f"a number in {rule.least:g} .. {rule.most:g}"


def _is_a(kind: type, value: Any) -> bool:
    """Is `value` of the scalar type `kind`? True and False are no numbers; a whole number may stand for a float."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _check_text(rule: Text, value: str, where: str) -> None:
    if len(value) > rule.most:
        raise ProtocolError(f"{where} has {len(value)} characters; at most {rule.most} are allowed.")
    if not value.isprintable():
        raise ProtocolError(f"{where} holds a character that cannot be printed: {shown(value)}.")
    if rule.pattern and not re.fullmatch(rule.pattern, value):
        raise ProtocolError(f"{where} is {shown(value)}; expected a name such as 'normals' (letters, digits, . _ : -).")


def _check_union(options: tuple[Any, ...], value: Any, where: str) -> None:
    if value is None and type(None) in options:
        return
    for option in options:
        if option is not type(None) and _may_be(option, value):
            return check(option, value, where)
    expected = " or ".join(describe(option) for option in options)
    raise ProtocolError(f"{where} is {shown(value)}; expected {expected}.")


def _may_be(hint: Any, value: Any) -> bool:
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return _is_a(base, value) if base in _SCALARS else isinstance(value, base)


def _check_items(item: Any, value: Any, where: str) -> None:
    if not isinstance(value, tuple):
        raise ProtocolError(f"{where} is {shown(value)}; expected a tuple.")
    _check_length(value, where)
    for index, entry in enumerate(value):
        check(item, entry, f"{where}[{index}]")


def _check_mapping(key: Any, item: Any, value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise ProtocolError(f"{where} is {shown(value)}; expected a dictionary.")
    _check_length(value, where)
    for name, entry in value.items():
        check(key, name, f"the name {shown(name)} in {where}")
        check(item, entry, f"{where}[{shown(name)}]")


def _check_length(value: tuple | list | dict, where: str) -> None:
    if len(value) > MAX_ITEMS:
        raise ProtocolError(f"{where} has {len(value)} entries; at most {MAX_ITEMS} are allowed.")


def build(hint: Any, value: Any, where: str, leaf: Callable[[type, dict, str], Any]) -> Any:
    """What the plain JSON value `value` stands for under `hint`.

    `leaf(kind, value, where)` makes each dataclass from its JSON object; scalars pass as they are, to be judged by `check`.
    """
    origin = get_origin(hint)
    if origin is tuple:
        _expect(list, value, where)
        return tuple(build(get_args(hint)[0], entry, f"{where}[{i}]", leaf) for i, entry in enumerate(value))
    if origin is dict:
        _expect(dict, value, where)
        return {name: build(get_args(hint)[1], entry, f"{where}[{shown(name)}]", leaf) for name, entry in value.items()}
    if origin in (Union, types.UnionType) and value is not None:
        kinds = [option for option in get_args(hint) if dataclasses.is_dataclass(option)]
        return build(kinds[0], value, where, leaf) if kinds else value
    if dataclasses.is_dataclass(hint):
        _expect(dict, value, where)
        return leaf(hint, value, where)
    return value


def _expect(kind: type, value: Any, where: str) -> None:
    if not isinstance(value, kind):
        raise ProtocolError(f"{where} is {shown(value)}; expected {'a list' if kind is list else 'an object'}.")
    _check_length(value, where)


def plain(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """The JSON value for a field's value; `leaf(dataclass instance)` gives that of each dataclass in it."""
    if dataclasses.is_dataclass(value):
        return leaf(value)
    if isinstance(value, tuple):
        return [plain(entry, leaf) for entry in value]
    if isinstance(value, dict):
        return {name: plain(entry, leaf) for name, entry in value.items()}
    return value


def describe(hint: Any) -> str:
    """An annotation in words, as `PROTOCOL.md` writes it."""
    origin, args = get_origin(hint), get_args(hint)
    if hint == Name:
        return "name"
    if hint == Sentence:
        return "sentence"
    if origin is Annotated:
        return {int: "count", float: "seconds", str: "string"}[args[0]]
    if origin in (Union, types.UnionType):
        return "scalar" if set(args) == set(get_args(Scalar)) else " or ".join(describe(arg) for arg in args)
    if origin is tuple:
        return f"list of {describe(args[0])}"
    if origin is dict:
        return f"map of {describe(args[0])} to {describe(args[1])}"
    names = {type(None): "null", int: "integer", float: "number", str: "string", bool: "boolean"}
    return names.get(hint, hint.__name__)


def shown(value: Any) -> str:
    """A value of unknown size and content, short enough for a sentence."""
    if isinstance(value, (str, int, float, bool, type(None))):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"
