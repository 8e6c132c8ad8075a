"""A plan as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rayllm.deployment.plan import ADAPTER, VERSION, Change, FieldChange
from rayllm.deployment.wording import as_written

_MARKS = {"add": ("+", "good"), "change": ("~", "warning"), "remove": ("-", "bad"), "keep": ("=", "dim")}


def plan_lines(changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """Lines with their style."""
    for change in changes:
        mark, style = _MARKS[change.kind]
        yield f"  {mark} {change.name:<12} {change.effect or change.summary}", style
        told = [field for field in change.fields if field.field.startswith(VERSION)]
        for field in told:
            yield f"      code: {_version(field)}", style
        for field in change.fields:
            if field not in told and not (told and field.field == "code"):
                yield f"      {field.field}: {as_written(field.before)} → {as_written(field.after)}", style
        yield from added_lines([change])


def added_lines(changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    """Lines for what runs beside the file."""
    for change in changes:
        for name, source in change.added.items():
            where = f"{change.name}.{ADAPTER}{name}: {source}"
            yield f"      {where}   (added by command, not in the file: it stays)", "dim"


def _version(field: FieldChange) -> str:
    """What runs, and what would."""
    name = field.field.removeprefix(VERSION)
    older = "the older " if _is_older(field.after, field.before) else ""
    return f"the cluster runs {name} {field.before}, this machine has {older}{field.after}"


def _is_older(one: str, other: str) -> bool:
    """Whether one version comes before another; not for versions that have no order."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) < Version(other)
    except InvalidVersion:
        return False
