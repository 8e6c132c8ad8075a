"""What the pages of `docs/reference` are made of."""

from __future__ import annotations

import inspect
from typing import Any

NOTE = "<!-- Written by docs/generate.py from the code: change it there, then `nox -s docs`. -->"


def joined(blocks: list[str]) -> str:
    """A page of these paragraphs."""
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def table(*rows: tuple[str, ...]) -> str:
    """A table; the first row is its head."""
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def first_paragraph(kind: Any) -> str:
    """Of a docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
