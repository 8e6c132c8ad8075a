"""What a model is doing and why it failed, in words for a person. Pure."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from rayllm.errors import DeploymentError

if TYPE_CHECKING:
    from rayllm.deployment.status import ModelStatus

_PHASES = {"environment": "environment", "weights": "weights", "starting": "engine starting"}
_AFTER = {"failed": "", "unhealthy": "", "restarting": "restarting: "}


def describe(model: ModelStatus) -> str:
    """What a model that is not ready is doing, in a few words."""
    if model.failure and model.state in _AFTER:
        return f"{_AFTER[model.state]}{model.failure['message']}"
    if model.state in {"failed", "unhealthy"}:
        return last_error(model.message).partition("\n")[0] or "did not come up"
    if not model.replicas and model.failure:
        return f"starting again after: {model.failure['message']}"
    if not model.replicas:
        return "waiting for a node with room, or a busy one" if model.state == "waiting" else "starting a replica"
    busy = [replica for replica in model.replicas if replica.phase != "ready"]
    if not busy:
        going = "stopping" if model.running > model.wanted else "starting"
        return f"{going} replicas ({model.running}/{model.wanted} ready)"
    newest = max(busy, key=lambda replica: replica.since)
    phase = _PHASES.get(newest.phase, newest.phase)
    count = f" ({model.running}/{model.wanted} ready)" if model.wanted > 1 else ""
    return f"{phase}{count} · {newest.detail}" if newest.detail else f"{phase}{count}"


def describe_past(past: dict[str, Any]) -> str:
    """What a model that is ready again went through: how often, when last, and why."""
    count, minutes = int(past["count"]), max(0, time.time() - float(past["at"])) / 60
    often = f"failed {count} times, last" if count > 1 else "failed"
    when = f"{minutes:.0f} min ago" if minutes >= 1 else "less than a minute ago"
    return f"{often} {when}: {past['message']}"


def as_written(value: Any) -> str:
    """A value as the file has it, on one line: `[a, b]`, `{key: true}`; `(not set)` where there is none."""
    if value is None:
        return "(not set)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_written(item) for item in value) + "]"
    return str(value)


def age(seconds: float) -> str:
    """A time span in its largest unit: `12 s`, `3 min`, `2 h`, `4 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def failure_of(model: ModelStatus) -> DeploymentError:
    """What a person needs to know about a model that failed: the engine's own words where there are any."""
    if failure := model.failure:
        count = int(failure["count"])
        tries = f", {count} times" if count > 1 else ""
        return DeploymentError(
            f"{failure['message']}{tries}",
            cause=failure["cause"] or None,
            cure=failure["cure"] or None,
            topic=failure.get("topic") or None,  # a cluster that runs on may have a directory of an older RayLLM
        )
    return DeploymentError(f"{model.name} did not come up", cause=last_error(model.message) or None)


def last_error(message: str) -> str:
    """What matters of Serve's message: our own error at its end, else the last lines of the traceback."""
    if found := re.search(r"^rayllm\.errors\.\w+: (.*)", message, re.MULTILINE | re.DOTALL):
        return found[1].strip()
    return "\n".join([line for line in message.splitlines() if line.strip()][-6:])
