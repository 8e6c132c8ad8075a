"""The few questions that who keeps Ray's head asks its dashboard on this machine, with the standard library alone."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

_LOOPBACK = "127.0.0.1"


def answers(port: int, token: str) -> bool:
    """Whether Ray's dashboard answers."""
    return _ask(port, token, "/api/version") is not None


def alive_nodes(port: int, token: str, since: float) -> list[str]:
    """Names of the nodes that started after `since` (seconds since 1970) and are alive; none while it does not answer.

    A head that comes back counts its predecessor's nodes as alive until it has missed them for a while.
    """
    answer = _ask(port, token, "/api/v0/nodes?detail=1&limit=1000")
    rows = answer["data"]["result"]["result"] if answer else []
    return [row["node_name"] for row in rows if row["state"] == "ALIVE" and row["start_time_ms"] >= since * 1000]


def _ask(port: int, token: str, path: str, timeout_s: float = 5.0) -> Any:
    """The answer to a GET as JSON; None if there is none."""
    connection = HTTPConnection(_LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return json.load(answer) if answer.status == 200 else None  # noqa: PLR2004
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
