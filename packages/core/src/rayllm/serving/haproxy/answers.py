"""What the gateway answers itself, in OpenAI's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

RETRY_AFTER_S = 5
FALLBACK_AFTER_S = 1
"""Where the next request goes to another model."""

_CLIENT = "invalid_request_error"
_SERVER = "server_error"
_FIRST_SERVER_ERROR = 500
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class OpenAiError:
    """One error answer."""

    status: int
    message: str
    """May hold HAProxy's `%[...]` where `answer` stands after `http-request return`."""
    code: str
    param: str | None = None
    retry_after_s: int | str | None = None
    """A number, or HAProxy's `%[...]`."""

    def body(self) -> str:
        """The JSON a client sees."""
        kind = _SERVER if self.status >= _FIRST_SERVER_ERROR else _CLIENT
        return json.dumps({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})

    def answer(self) -> str:
        """Arguments for HAProxy's `http-request return` and `http-error`."""
        format_ = "lf-string" if "%[" in self.message else "string"
        header = f" hdr retry-after {self.retry_after_s}" if self.retry_after_s else ""
        if self.status == _UNAUTHORIZED:
            header += " hdr www-authenticate Bearer"
        return f"status {self.status} content-type application/json {format_} {_quoted(self.body())}{header}"


def retry_later(message: str, after_s: int = RETRY_AFTER_S) -> OpenAiError:
    """503, with the time after which to try again."""
    return OpenAiError(503, message, "service_unavailable", retry_after_s=after_s)


def default_errors() -> Iterator[str]:
    """`http-error` lines for HAProxy's own errors, except for what isn't HTTP at all: that gets its built-in page."""
    for error in (
        OpenAiError(400, "the request is not valid HTTP", "bad_request"),
        OpenAiError(408, "the request did not arrive in time", "request_timeout"),
        OpenAiError(500, "the gateway failed on this request", "internal_error"),
        OpenAiError(502, "the engine broke off before its answer began", "bad_gateway"),
        retry_later("no replica can answer right now"),
        OpenAiError(504, "the engine did not answer in time", "gateway_timeout"),
    ):
        yield f"http-error {error.answer()}"


def _quoted(text: str) -> str:
    """One argument on a line of HAProxy's configuration: nothing is special between single quotes."""
    quote = "'"
    return f"'{text.replace(quote, quote + chr(92) + quote + quote)}'"
