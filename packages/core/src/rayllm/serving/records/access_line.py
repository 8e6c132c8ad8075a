"""One line of the access log, as far as it is counted."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_NONE = "-"
_OWN = "<"
"""Begins what HAProxy writes in place of a replica where it answered itself."""
_NO_REQUEST = b'"usage":-}'
"""Ends the line of what never became a request: there HAProxy knows no variables, and writes no `null`."""
_HANDED_ON = "next"
"""Stands in place of a replica where an old worker handed the request to the new one, which has a line for it, too."""
_LARGE = ("many", "few")
"""Stand there where it went to the process for large bodies; what came back from that has a line of its own."""
_NO_HEAD = "H"
"""Second letter of HAProxy's state where the end came before the head of an answer."""
_FIRST_ERROR = 400
_BYTES_A_TOKEN = 4
"""Of an answer whose tokens nobody has told; of plain text it is about as much."""
_LIMITS = (401, 429)
"""What a key itself is refused with, before its requests are counted."""
_DECODE = json.JSONDecoder().decode
_BEGIN = b'{"end":'


class AccessLine(NamedTuple):
    """One request that was answered. A tuple, since one is made for each line."""

    end: float
    """Unix time in seconds."""
    key: str
    """Id of the API key; empty without one."""
    model: str
    """The model's name, or its adapter's that was asked for. Empty where none was reached: the gateway refused the
    request, or told what models there are."""
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

    @property
    def counts(self) -> bool:
        """Whether HAProxy has counted it among its key's requests per minute: all but those that the key was refused.

        One of the key's that was turned away since too many large ones wait looks like these, and is left out.
        """
        return bool(self.key) and (bool(self.model) or self.status not in _LIMITS)


def read_line(line: bytes) -> AccessLine | None:
    """Read one line; None for what is no whole line, is the gateway's own, or has another line.

    Its own are looks at its health and its admin API. A line that broke off on a full disk stands in front of the next
    one.
    """
    try:
        text = line[line.rfind(_BEGIN) :]
        if text.endswith(_NO_REQUEST):
            text = text.removesuffix(b"-}") + b"null}"
        told: dict[str, Any] = _DECODE(text.decode())
        model = "" if told["model"] == _NONE else told["model"]
        if not model and _is_left_out(told):
            return None
        usage = told["usage"] or {}
        events = usage.get("events", 0)
        return AccessLine(
            told["end"] / 1e3,
            "" if told["key"] == _NONE else told["key"],
            model if (adapter := told.get("adapter", _NONE)) == _NONE else adapter,
            told["replica"] if model and told["replica"][0] != _OWN else _NONE,
            told["status"],
            max(told["queue_ms"], 0) / 1e3,
            max(told["total_ms"], 0) / 1e3,
            usage.get("prompt_tokens", 0),
            usage["completion_tokens"] if "completion_tokens" in usage else _guessed(told, usage),
            usage.get("estimated", False),
            usage["first_us"] / 1e6 if events else None,
            usage["stream_us"] / 1e6 / (events - 1) if events > 1 else None,
        )
    except (ValueError, LookupError, TypeError):
        return None


def _guessed(told: dict[str, Any], usage: dict[str, Any]) -> int:
    """Tokens of a text that is known by its length alone."""
    return max(int(told["sent"]) // _BYTES_A_TOKEN, 1) if usage.get("estimated") else 0


def _is_left_out(told: dict[str, Any]) -> bool:
    """Whether it is the gateway's own, or may have another line; of a large one only without an answer's head."""
    path, replica = told["path"], told["replica"]
    if path == "/health" or path.startswith("/rayllm/") or replica == _HANDED_ON:
        return True
    return replica in _LARGE and told["state"][1] == _NO_HEAD
