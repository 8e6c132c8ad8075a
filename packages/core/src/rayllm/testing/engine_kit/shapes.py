"""Whether an engine's answers have the shape that clients' libraries read. Of what they say, nothing is asked. Pure."""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str) -> Any:
    """An answer as JSON; None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def at(value: Any, *keys: str | int) -> Any:
    """What stands there within an answer; None where nothing does."""
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def is_text(event: str, *, whole: bool = False) -> bool:
    """Whether it is an answer, or a part of one, with a choice in it."""
    choice = at(parsed(event), "choices", 0)
    said = at(choice, "message" if whole else "delta")
    return isinstance(said, dict) or isinstance(at(choice, "text"), str)


def is_error(text: str) -> bool:
    """Whether a client's library finds a message in it."""
    error = at(parsed(text), "error")
    return bool(at(error, "message")) and isinstance(at(error, "type"), str)


def fits(answer: Any, wanted: tuple[str, ...]) -> bool:
    """Whether a chat's text is one of these, apart from blanks; one that was cut short has to be on its way there."""
    said = at(answer, "choices", 0, "message", "content")
    text = "".join(said.split()) if isinstance(said, str) else ""
    if at(answer, "choices", 0, "finish_reason") == "length":
        return any(one.startswith(text or "-") for one in wanted)
    return text in wanted


def calls(answer: Any) -> list[str]:
    """The names of the functions that a chat's answer calls; of a call that has another shape, an empty one."""
    made = at(answer, "choices", 0, "message", "tool_calls") or []
    whole = [isinstance(at(call, "id"), str) and isinstance(at(call, "function", "arguments"), str) for call in made]
    return [str(at(call, "function", "name") or "") if right else "" for call, right in zip(made, whole, strict=True)]


def prompt_tokens(answer: Any) -> int:
    """Tokens that the model was given; 0 where it isn't told."""
    told = at(answer, "usage", "prompt_tokens")
    return told if isinstance(told, int) else 0


def are_vectors(answer: Any, count: int) -> bool:
    """Whether it has a vector for each of so many texts."""
    data = at(answer, "data")
    vectors = [at(one, "embedding") for one in data] if isinstance(data, list) else []
    whole = [isinstance(one, list) and one and all(map(_is_number, one)) for one in vectors]
    return len(whole) == count and all(whole)


def is_ranking(answer: Any, count: int) -> bool:
    """Whether it has a score for each of so many documents."""
    results = at(answer, "results")
    found = results if isinstance(results, list) else []
    numbers = [at(one, "index") for one in found if _is_number(at(one, "relevance_score"))]
    return all(number in numbers for number in range(count)) and len(found) == count


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
