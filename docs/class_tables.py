"""Tables of dataclasses' fields, by their docstrings and types."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docs.page_parts import table

IN_JSON = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    type(None): "null",
}


def related(kind: type) -> Iterator[type]:
    """A dataclass and those that its fields hold."""
    yield kind
    module = vars(sys.modules[kind.__module__])
    for field in dataclasses.fields(kind):
        for word in re.findall(r"\w+", str(field.type)):
            found = module.get(word)
            if isinstance(found, type) and dataclasses.is_dataclass(found) and found is not kind:
                yield from related(found)


def fields_table(kind: type, *, inherited: bool = False) -> str:
    """Each field of its own, with its type as it looks in JSON and its docstring; nothing if there are none.

    With `inherited`, those of the dataclasses that it extends come first.
    """
    above = [base for base in reversed(kind.__mro__[1:]) if inherited and dataclasses.is_dataclass(base)]
    told = {name: text for one in (*above, kind) for name, text in field_docstrings(one).items()}
    hints = get_type_hints(kind)
    rows = [(f"`{name}`", in_json(hints[name]), text) for name, text in told.items()]
    return table(("field", "type", "meaning"), *rows) if rows else ""


def in_json(hint: Any) -> str:
    """A type as it looks in JSON."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, UnionType}:
        return " or ".join(in_json(one) for one in arguments)
    if origin in {list, tuple, Sequence}:
        return f"list of {in_json(arguments[0])}"
    if origin in {dict, Mapping}:
        return f"object of {in_json(arguments[1])}" if arguments[1] is not Any else "object"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"[`{hint.__name__}`](#{hint.__name__.lower()})"
    return IN_JSON[hint]


def field_docstrings(kind: type) -> dict[str, str]:
    """The text under each field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    told: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in pairwise(statements):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            told[field.target.id] = " ".join(inspect.cleandoc(ast.literal_eval(text.value)).split())
    missing = [name for name in inspect.get_annotations(kind) if name not in told]
    if missing:
        raise SystemExit(f"{kind.__module__}.{kind.__name__}: no docstring under {', '.join(missing)}")
    return told
