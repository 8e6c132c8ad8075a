"""`docs/reference/kit.md`: every rule of the conformance kit, and what a plugin's test class sets."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise

from docs.page_parts import NOTE, first_paragraph, joined, table

from rayllm.testing import BackendConformance, Conformance, EngineConformance, Platform, SourceConformance

ABOUT = (
    "Every rule that a plugin's tests inherit, and what its class sets. How the kit is used is on "
    "[the page for plugin authors](../plugins.md#the-conformance-kit)."
)


def kit_page() -> str:
    """The page, as the classes tell it."""
    blocks = ["# Reference of the conformance kit", NOTE, ABOUT]
    for kind in (EngineConformance, BackendConformance, SourceConformance):
        rules = [(f"`{name}`", " ".join(text.split())) for name, text in rules_of(kind)]
        settings = [(f"`{name}`", text) for base in bases_of(kind) for name, text in settings_of(base)]
        blocks += [f"## `{kind.__name__}`", table(("the class sets", "meaning"), *settings)]
        blocks += [table(("rule", "what it asks"), *rules)]
    methods = [
        (f"`{name}{signature(method)}`", " ".join(first_paragraph(method).split()))
        for name, method in vars(Platform).items()
        if not name.startswith("_")
    ]
    blocks += ["## `Platform`", first_paragraph(Platform), table(("method", "what it tells"), *methods)]
    return joined(blocks)


def bases_of(kind: type) -> list[type]:
    """The kit's classes that this one is made of, the most general first."""
    return [base for base in reversed(kind.__mro__) if issubclass(base, Conformance)]


def rules_of(kind: type) -> Iterator[tuple[str, str]]:
    """Name and docstring of each rule."""
    for base in bases_of(kind):
        for name, rule in vars(base).items():
            if name.startswith("test_"):
                yield name, inspect.cleandoc(rule.__doc__ or "")


def settings_of(base: type) -> Iterator[tuple[str, str]]:
    """What a class may set, with the text under it."""
    body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
    for field, text in pairwise(body.body if isinstance(body, ast.ClassDef) else []):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)):
            continue
        if not field.target.id.startswith("_"):
            yield field.target.id, " ".join(inspect.cleandoc(ast.literal_eval(text.value)).split())


def signature(method: object) -> str:
    """The parameters' names; nothing for a property."""
    if isinstance(method, property) or not callable(method):
        return ""
    return f"({', '.join(list(inspect.signature(method).parameters)[1:])})"
