"""A plan as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rayllm.deployment.plan import Change

_MARKS = {"add": ("+", "good"), "change": ("~", "warning"), "remove": ("-", "bad"), "keep": ("=", "dim")}


def plan_lines(changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """Lines with their style."""
    for change in changes:
        mark, style = _MARKS[change.kind]
        yield f"  {mark} {change.name:<12} {change.effect or change.summary}", style
        for field in change.fields:
            yield f"      {field.field}: {_value(field.before)} → {_value(field.after)}", style


def _value(value: Any) -> str:
    return "(not set)" if value is None else str(value)
