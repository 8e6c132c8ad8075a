"""Answers of the API, and what it refuses."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

UNKNOWN_ARGUMENT, NOT_FOUND, DENIED, EXHAUSTED, PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = (
    3,
    5,
    7,
    8,
    9,
    12,
    13,
    16,
)
"""gRPC's numbers."""
ABORTED = 10
_LETTERS = string.ascii_lowercase + string.digits


class Refused(Exception):  # noqa: N818 - not an error of ours: the platform's answer
    """The platform's answer is an error."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        """As grpc-gateway writes it."""
        return {"error": self.message, "code": self.code, "message": self.message, "details": []}


def bad(message: str) -> Refused:
    """A request that is wrong in itself."""
    return Refused(400, UNKNOWN_ARGUMENT, message)


def absent(what: str) -> Refused:
    """There is no such thing."""
    return Refused(404, NOT_FOUND, f"{what} not found")


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON; the API says 200 to all that goes well."""
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)


def dashed_id() -> str:
    """As projects, jobs and applications have: `k87h-zej9-dugs-473y`."""
    return "-".join(_random(4) for _ in range(4))


def engine_id() -> str:
    """As runs and pods have: `usm20uit0vnk2pp0`."""
    return _random(16)


def key() -> str:
    """An API v2 key."""
    return f"{secrets.token_hex(32)}.{secrets.token_hex(32)}"


def stamp(seconds: float | None) -> str | None:
    """A time as the API writes it: `2022-09-09T12:02:14.031Z`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def suffix() -> str:
    """What is added to a subdomain that is taken."""
    return _random(6)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
