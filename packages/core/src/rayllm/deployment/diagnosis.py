"""Why a model is not ready: one cause, and one thing to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayllm.deployment.wording import last_error

if TYPE_CHECKING:
    from rayllm.deployment.status import ModelStatus

_PREPARES = {
    "environment": "its environment is being prepared",
    "weights": "its weights are being fetched",
    "starting": "its engine is starting",
    "leaving": "its replica is being stopped",
}


def diagnose(model: ModelStatus, shortage: str, *, elastic: bool = False) -> tuple[str, str]:
    """Cause and cure of what keeps a model from being ready; both empty where it is.

    Args:
        model: as it is.
        shortage: what one more replica needs and no node has, in words with the numbers; empty where there is room.
        elastic: True where nodes come by themselves for what lacks one.
    """
    if model.state == "ready":
        return "", ""
    if model.failure:
        return _failed(model, model.failure["message"], model.failure["cause"], model.failure["cure"])
    if model.state in {"failed", "unhealthy"}:
        return _failed(model, last_error(model.message) or "it did not come up", "", "")
    return _on_its_way(model, shortage, elastic=elastic)


def _on_its_way(model: ModelStatus, shortage: str, *, elastic: bool) -> tuple[str, str]:
    if busy := [replica for replica in model.replicas if replica.phase != "ready"]:
        newest = max(busy, key=lambda replica: replica.since)
        detail = f": {newest.detail}" if newest.detail else ""
        return _PREPARES.get(newest.phase, newest.phase) + detail, f"wait: rayllm status {model.name} --watch"
    if shortage and elastic:
        return shortage, "wait: a node comes for it, where one may be as large; rayllm nodes list tells of it"
    if shortage:
        return shortage, "ask for less under resources:, stop another model, or add a node"
    if model.state == "waiting":
        return (
            "Ray has given its replica no node, though Serve's replicas leave room for it",
            "see who else works on the cluster: `ray status` on its head node",
        )
    return "Ray is starting its replica", f"wait: rayllm status {model.name} --watch"


def _failed(model: ModelStatus, message: str, cause: str, cure: str) -> tuple[str, str]:
    goes_on = model.state not in {"failed", "unhealthy"}
    again = "it is tried again by itself" if goes_on else "then: rayllm up"
    log = "rayllm logs gateway" if model.name == "gateway" else f"rayllm logs {model.name} --last-start"
    silent = model.failure is not None and not model.failure["log"]
    look = f"mend that; {again}" if silent else f"see what it wrote: {log}; {again}"
    return f"{message}: {cause}" if cause else message, cure or look
