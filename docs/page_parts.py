"""What the pages of `docs/reference` are made of."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from rayllm.engines import CAPABILITIES, AnyEngine, capability_rows

NOTE = "<!-- Written by docs/generate.py from the code: change it there, then `nox -s docs`. -->"


def joined(blocks: list[str]) -> str:
    """A page of these paragraphs."""
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def table(*rows: tuple[str, ...]) -> str:
    """A table; the first row is its head."""
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def capabilities_page(engines: Sequence[AnyEngine]) -> str:
    """What each engine declares, of all that one may."""
    told = (
        "What each engine declares, by the device that it serves on. What a file asks of an engine beyond that is an "
        "error before anything starts. `rayllm plugins` shows the same table of the engines that are installed."
    )
    rows = capability_rows({engine.name: {kind: engine.can(kind) for kind in engine.devices} for engine in engines})
    cells = [(f"`{word}`", CAPABILITIES[word], *devices) for word, *devices in rows]
    names = (f"[`{engine.name}`](engine-{engine.name}.md)" for engine in engines)
    return joined(["# What the engines can do", NOTE, told, table(("feature", "what it promises", *names), *cells)])


def first_paragraph(kind: Any) -> str:
    """Of a docstring."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
