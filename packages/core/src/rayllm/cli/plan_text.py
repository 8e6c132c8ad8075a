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
        note = f"   {change.effect}" if change.effect else ""
        yield f"  {mark} {change.name:<12} {change.summary if not change.fields else ''}".rstrip() + note, style
        for field in change.fields:
            yield f"      {field.field}: {_value(field.before)} → {_value(field.after)}", style


def _value(value: Any) -> str:
    return "(not set)" if value is None else str(value)
