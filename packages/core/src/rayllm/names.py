"""The nearest valid name to one a person misspelt."""

from __future__ import annotations

from collections.abc import Iterable


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
