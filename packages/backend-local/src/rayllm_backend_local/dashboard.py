"""The few questions that the local backend asks Ray's dashboard, with the standard library alone."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException
from typing import Any

from rayllm_backend_local.ray_command import LOOPBACK


def answers(port: int, token: str) -> bool:
    """Whether Ray's dashboard answers."""
    return _ask(port, token, "/api/version") is not None


def alive_nodes(port: int, token: str, since: float) -> int:
    """How many nodes that started after `since` (seconds since 1970) are alive; 0 while the dashboard does not answer.

    A head that comes back counts its predecessor's nodes as alive until it has missed them for a while.
    """
    answer = _ask(port, token, "/api/v0/nodes?detail=1&limit=1000")
    rows = answer["data"]["result"]["result"] if answer else []
    return sum(row["state"] == "ALIVE" and row["start_time_ms"] >= since * 1000 for row in rows)


def _ask(port: int, token: str, path: str, timeout_s: float = 5.0) -> Any:
    """The answer to a GET as JSON; None if there is none."""
    connection = HTTPConnection(LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return json.load(answer) if answer.status == 200 else None  # noqa: PLR2004
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
