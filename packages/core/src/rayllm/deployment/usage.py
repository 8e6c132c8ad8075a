"""What Serve's replicas need and hold, as Serve reports it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rayllm.deployment.serve_config import Json


def needs_of(serve: Json) -> dict[str, float]:
    """What one replica of a Serve deployment needs, by Ray's resource names; the memory in bytes."""
    return {name: float(amount) for name, amount in (serve.get("required_resources") or {}).items() if amount}


def spans_of(app: Json) -> int:
    """Nodes that each replica of an application spans."""
    return int((app.get("args") or {}).get("nodes") or 1)


def ranks_of(snapshot: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """The nodes of each replica's ranks beside its own, by the replica's id, as the directory has them."""
    return {replica["replica"]: replica.get("ranks", []) for replica in (snapshot or {}).get("replicas", [])}


def taken(details: Json, ranks: Mapping[str, Sequence[str]], without: str = "") -> dict[str, dict[str, float]]:
    """What the replicas of all applications hold, by node id; those of the application `without` aside.

    Of the other ranks of another deployment's replicas nothing is known here.
    """
    used: dict[str, dict[str, float]] = {}
    for node, needs in _placed(details, ranks, without):
        there = used.setdefault(node, {})
        for resource, amount in needs.items():
            there[resource] = there.get(resource, 0.0) + amount
    return used


def _placed(details: Json, ranks: Mapping[str, Sequence[str]], without: str) -> Iterator[tuple[str, dict[str, float]]]:
    for name, app in details["applications"].items():
        for serve in app["deployments"].values() if name != without else ():
            for replica in serve["replicas"]:
                nodes = [replica.get("node_id"), *ranks.get(replica.get("replica_id", ""), ())]
                yield from ((node, needs_of(serve)) for node in nodes if node)
