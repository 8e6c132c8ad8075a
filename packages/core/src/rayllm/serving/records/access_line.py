"""One line of the access log, as far as it is counted."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_NONE = "-"
_OWN = "<"
"""Begins what HAProxy writes in place of a replica where it answered itself."""
_FIRST_ERROR = 400
_BYTES_A_TOKEN = 4
"""Of an answer whose tokens nobody has told; of plain text it is about as much."""
_DECODE = json.JSONDecoder().decode
_BEGIN = b'{"end":'


class AccessLine(NamedTuple):
    """One request that was answered. A tuple, since one is made for each line."""

    end: float
    """Unix time in seconds."""
    key: str
    """Id of the API key; empty without one."""
    model: str
    replica: str
    status: int
    queue_s: float
    total_s: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    """Whether no engine reported the tokens."""
    first_s: float | None = None
    """Seconds until the first part of a stream."""
    between_s: float | None = None
    """Mean seconds between the parts of a stream."""

    @property
    def failed(self) -> bool:
        """Whether the client got an error."""
        return not 0 < self.status < _FIRST_ERROR


def read_line(line: bytes) -> AccessLine | None:
    """Read one line; None for a request that reached no model, and for what is no whole line.

    A line that broke off on a full disk stands in front of the next one.
    """
    try:
        told: dict[str, Any] = _DECODE(line[line.rfind(_BEGIN) :].decode())
        if told["model"] == _NONE:
            return None
        usage = told["usage"] or {}
        events = usage.get("events", 0)
        return AccessLine(
            told["end"] / 1e3,
            "" if told["key"] == _NONE else told["key"],
            told["model"],
            told["replica"] if told["replica"][0] != _OWN else _NONE,
            told["status"],
            max(told["queue_ms"], 0) / 1e3,
            max(told["total_ms"], 0) / 1e3,
            usage.get("prompt_tokens", 0),
            usage["completion_tokens"] if "completion_tokens" in usage else _guessed(told, usage),
            usage.get("estimated", False),
            usage["first_us"] / 1e6 if events else None,
            usage["stream_us"] / 1e6 / (events - 1) if events > 1 else None,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _guessed(told: dict[str, Any], usage: dict[str, Any]) -> int:
    """Tokens of a text that is known by its length alone."""
    return max(int(told["sent"]) // _BYTES_A_TOKEN, 1) if usage.get("estimated") else 0
