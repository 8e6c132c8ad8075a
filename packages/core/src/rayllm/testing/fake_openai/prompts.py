"""What was asked, in tokens: one for every word."""

from __future__ import annotations

import hashlib
from typing import Any

from rayllm.testing.fake_openai.wire import Failure


def prompt_tokens(body: dict[str, Any]) -> list[int]:
    """A token for every word of the messages, the prompt or the input."""
    given = body.get("messages", body.get("prompt", body.get("input")))
    if not given or not isinstance(given, (str, list)):
        raise Failure(400, "messages or prompt is missing or empty", param="messages")
    parts = [given] if isinstance(given, str) else given
    words = " ".join(str(part.get("content")) if isinstance(part, dict) else str(part) for part in parts).split()
    return [int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "big") for word in words]


def tokens_wanted(body: dict[str, Any]) -> int | None:
    """How many tokens were asked for; None leaves it to the answer."""
    names = ("max_completion_tokens", "max_output_tokens", "max_tokens")
    count = next((body[name] for name in names if name in body), None)
    if count is not None and (not isinstance(count, int) or count < 1):
        raise Failure(400, f"max_tokens must be a whole number from 1 up, not {count!r}", param="max_tokens")
    return count


def texts_of(body: dict[str, Any], name: str) -> list[str]:
    """A field that holds a text or a list of texts."""
    given = body.get(name)
    texts: list[Any] = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise Failure(400, f"{name} must be a string or a list of strings", param=name)
    return texts
