"""Waiting for a deployment to come up: what goes on is told, what failed is collected."""

from __future__ import annotations

import time
from collections.abc import Callable

from rayllm.backends import Progress
from rayllm.deployment.status import ModelStatus, Status
from rayllm.errors import DeploymentError

POLL_S = 0.5
_PHASES = {"environment": "environment", "weights": "weights", "starting": "engine starting"}


class ModelsFailedError(DeploymentError):
    """Some models did not come up; those that did keep serving."""

    def __init__(self, failures: dict[str, DeploymentError], total: int) -> None:
        self.failures = failures
        """By model name."""
        super().__init__(f"{len(failures)} of {total} models did not come up")

    def __str__(self) -> str:
        """Every failure, then the count."""
        return "\n".join([*(f"{name}: {failure}" for name, failure in self.failures.items()), self.message])


def wait_until_up(
    observe: Callable[[], Status], names: set[str], progress: Progress, keep: Callable[[], None]
) -> Status:
    """Poll until every model of `names` and the gateway are ready or failed.

    Args:
        observe: asks the cluster.
        names: the models.
        progress: told of every step.
        keep: called at every poll, to hold on to the right to change the deployment.

    Raises:
        ModelsFailedError: with each model's own error.
        DeploymentError: the gateway did not come up.
    """
    ready: set[str] = set()
    failures: dict[str, DeploymentError] = {}
    while True:
        status = observe()
        if status.gateway and status.gateway.state in {"failed", "unhealthy"}:
            raise failure_of(status.gateway)
        if status.gateway and status.gateway.state == "ready" and "gateway" not in ready:
            ready.add("gateway")
            progress("gateway", status.gateway_url, done=True)
        for model in (
            status.models[name] for name in sorted(names & status.models.keys()) if name not in ready | failures.keys()
        ):
            if model.state == "ready" and (model.running or not model.wanted):
                ready.add(model.name)
                progress(
                    model.name,
                    "ready, answered a first prompt" if model.running else "ready, no replica yet",
                    done=True,
                )
            elif model.state in {"failed", "unhealthy"}:
                failures[model.name] = failure_of(model)
                progress(model.name, "failed")
            else:
                progress(model.name, describe(model))
        if len(ready) + len(failures) == len(names) + 1:
            break
        keep()
        time.sleep(POLL_S)
    if failures:
        raise ModelsFailedError(failures, len(names))
    return status


def describe(model: ModelStatus) -> str:
    """What a model that is not ready is doing, in a few words."""
    if not model.replicas:
        if model.failure:
            return f"starting again after: {model.failure['message']}"
        return "waiting for a node with room" if model.state == "waiting" else "starting a replica"
    newest = max(model.replicas, key=lambda replica: replica.since)
    phase = _PHASES.get(newest.phase, newest.phase)
    count = f" ({model.running}/{model.wanted} ready)" if model.wanted > 1 else ""
    return f"{phase}{count} · {newest.detail}" if newest.detail else f"{phase}{count}"


def failure_of(model: ModelStatus) -> DeploymentError:
    """What a person needs to know about a model that failed: the engine's own words where there are any."""
    if failure := model.failure:
        count = int(failure["count"])
        tries = f", {count} times" if count > 1 else ""
        return DeploymentError(
            f"{failure['message']}{tries}", cause=failure["cause"] or None, cure=failure["cure"] or None
        )
    return DeploymentError(f"{model.name} did not come up", cause=_last_error(model.message) or None)


def _last_error(message: str) -> str:
    """Serve's message is a traceback with more around it; its last lines tell."""
    lines = [line for line in message.strip().splitlines() if line.strip()]
    return "\n".join(lines[-6:])
