"""Names and values in a person's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 60
"""Characters of a value that are shown."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, whatever its case; None if none is near."""
    from difflib import get_close_matches

    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(name.lower(), list(by_lower), n=1)
    return by_lower[near[0]] if near else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`; did you mean "vllm"?` to end a sentence with, or nothing."""
    near = nearest(name, choices)
    return f'; did you mean "{near}"?' if near else ""


def described(value: Any) -> str:
    """A value in a person's words: `text "8000"`, `true`, `a list`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'text "{value}"' if len(value) <= LONGEST else f'text "{value[: LONGEST - 1]}…"'
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else str(value)
