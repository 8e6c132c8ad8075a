"""A plan as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rayllm.deployment.plan import Change
from rayllm.deployment.wording import as_written

_MARKS = {"add": ("+", "good"), "change": ("~", "warning"), "remove": ("-", "bad"), "keep": ("=", "dim")}


def plan_lines(changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """Lines with their style."""
    for change in changes:
        mark, style = _MARKS[change.kind]
        yield f"  {mark} {change.name:<12} {change.effect or change.summary}", style
        for field in change.fields:
            yield f"      {field.field}: {as_written(field.before)} → {as_written(field.after)}", style
