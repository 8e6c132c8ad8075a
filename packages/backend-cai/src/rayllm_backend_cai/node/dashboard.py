"""The one question that the head's supervisor asks Ray's dashboard, with the standard library alone."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException

_TIMEOUT_S = 5.0


def alive_nodes(port: int, token: str, since: float) -> list[str]:
    """Names of the nodes that started after `since` (seconds since 1970) and are alive; none while it does not answer.

    A head that comes back counts its predecessor's nodes as alive until it has missed them for a while.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        path = "/api/v0/nodes?detail=1&limit=1000"
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        rows = json.load(answer)["data"]["result"]["result"] if answer.status == 200 else []  # noqa: PLR2004
    except (OSError, HTTPException, ValueError):
        return []
    finally:
        connection.close()
    return [row["node_name"] for row in rows if row["state"] == "ALIVE" and row["start_time_ms"] >= since * 1000]
