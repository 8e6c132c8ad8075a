"""What Serve's replicas need and hold, as Serve reports it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm.deployment.serve_config import Json


def needs_of(serve: Json) -> dict[str, float]:
    """What one replica of a Serve deployment needs, by Ray's resource names; the memory in bytes."""
    return {name: float(amount) for name, amount in (serve.get("required_resources") or {}).items() if amount}


def taken(details: Json, without: str = "") -> dict[str, dict[str, float]]:
    """What the replicas of all applications hold, by node id; those of the application `without` aside."""
    used: dict[str, dict[str, float]] = {}
    for node, needs in _placed(details, without):
        there = used.setdefault(node, {})
        for resource, amount in needs.items():
            there[resource] = there.get(resource, 0.0) + amount
    return used


def _placed(details: Json, without: str) -> Iterator[tuple[str, dict[str, float]]]:
    for name, app in details["applications"].items():
        for serve in app["deployments"].values() if name != without else ():
            yield from ((node, needs_of(serve)) for replica in serve["replicas"] if (node := replica.get("node_id")))
