"""What the pages of `docs/reference` are made of."""

from __future__ import annotations

import inspect
from typing import Any

from rayllm.engines import CAPABILITIES, AnyEngine

NOTE = "<!-- Written by docs/generate.py from the code: change it there, then `nox -s docs`. -->"


def joined(blocks: list[str]) -> str:
    """A page of these paragraphs."""
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def table(*rows: tuple[str, ...]) -> str:
    """A table; the first row is its head."""
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def capabilities_of(engine: AnyEngine) -> list[str]:
    """What an engine declares, of all that one may."""
    rows = [(f"`{name}`", what, "yes" if name in engine.capabilities else "no") for name, what in CAPABILITIES.items()]
    told = "What it declares; what a file asks of an engine beyond that is an error before anything starts."
    return [f"## What `{engine.name}` can do", told, table(("feature", "what it promises", ""), *rows)]


def first_paragraph(kind: Any) -> str:
    """Of a docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
