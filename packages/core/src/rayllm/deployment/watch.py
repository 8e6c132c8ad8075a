"""Waiting for a deployment to come up: what goes on is told, what failed is collected."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from rayllm.backends import Progress
from rayllm.deployment.adapter_status import error_of, failed, loading
from rayllm.deployment.patience import Patience
from rayllm.deployment.status import ModelStatus, Status
from rayllm.deployment.telling import Tell, nobody
from rayllm.deployment.wording import describe, failure_of
from rayllm.errors import ClusterError, DeploymentError
from rayllm.events import ModelFailed, ModelReady

POLL_S = 0.5
MISSING_S = 15.0
"""Seconds after which an application that Serve does not list was taken away by somebody else."""
GATEWAY = "gateway"
_FAILED = frozenset({"failed", "unhealthy"})


class ModelsFailedError(DeploymentError):
    """Some models did not come up; those that did keep serving."""

    def __init__(self, failures: dict[str, DeploymentError], total: int) -> None:
        self.failures = failures
        """By model name."""
        super().__init__(f"{len(failures)} of {total} models did not come up")

    def __str__(self) -> str:
        """Every failure, then the count."""
        return "\n".join([*(f"✘ {name}  {failure}" for name, failure in self.failures.items()), self.message])


class Watch:
    """Follows the models of `names` and the gateway until each is ready or failed.

    Args:
        names: the models.
        progress: is told what goes on.
        known: when each model (`failure["at"]`) and each adapter (`MODEL/ADAPTER`) failed last before this watch: that
            says nothing about now.
        clock: seconds that only grow.
        tell: is told of each model that is ready or failed.
    """

    def __init__(
        self,
        names: set[str],
        progress: Progress,
        known: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
        tell: Tell = nobody,
    ) -> None:
        self._names = names
        self._progress = progress
        self._known = known
        self._tell = tell
        self._clock = clock
        self._patience = Patience(progress, clock)
        self._ready: set[str] = set()
        self._failures: dict[str, DeploymentError] = {}
        self._seen = clock()

    def run(self, observe: Callable[[], Status], keep: Callable[[], None]) -> Status:
        """Poll until nothing is open.

        Args:
            observe: asks the cluster.
            keep: called at every poll, to hold on to the right to change the deployment.

        Raises:
            ModelsFailedError: with each model's own error.
            DeploymentError: the gateway did not come up.
            ClusterError: somebody else removed what was deployed, or the cluster is gone.
        """
        while True:
            if status := self._patience.ask(observe):
                self._look(status)
                if len(self._ready) + len(self._failures) == len(self._names) + 1:
                    break
                self._patience.ask(keep)
            time.sleep(POLL_S)
        if self._failures:
            raise ModelsFailedError(self._failures, len(self._names))
        return status

    def _look(self, status: Status) -> None:
        parts = {**status.models, **({GATEWAY: status.gateway} if status.gateway else {})}
        missing = (self._names | {GATEWAY}) - parts.keys()
        if not missing:
            self._seen = self._clock()
        elif self._clock() - self._seen > MISSING_S:
            raise ClusterError(
                f"{', '.join(sorted(missing))} of {status.name} is gone: somebody else changed the cluster",
                cure="agree who goes first, then: rayllm up",
                topic="another-operator",
            )
        for name in sorted(parts.keys() & (self._names | {GATEWAY}) - self._ready - self._failures.keys()):
            self._look_at(name, parts[name], status)

    def _look_at(self, name: str, part: ModelStatus, status: Status) -> None:
        if part.failure and part.failure["at"] == self._known.get(name):
            part = replace(part, failure=None)
        if part.state == "ready" and (problem := failed(part, self._known)):
            self._fail(name, error_of(f"serves without the adapter {problem[0]}", problem[1]), status)
        elif part.state == "ready" and (open_ := loading(part)):
            self._progress(name, open_)
        elif part.state == "ready":
            self._ready.add(name)
            if name != GATEWAY:
                ready = ModelReady(deployment=status.name, model=name, replicas=part.running, endpoint=part.endpoint)
                self._tell(ready)
            said = "ready, answered a first prompt" if part.running else "ready, no replica yet"
            self._progress(name, status.gateway_url if name == GATEWAY else said, done=True)
        elif part.state in _FAILED and name == GATEWAY:
            raise failure_of(part)
        elif part.state in _FAILED:
            self._fail(name, failure_of(part), status)
        else:
            why = f": {part.cause}; {part.cure}, or Ctrl-C" if part.state == "waiting" and part.cause else ""
            self._progress(name, describe(part) + why)

    def _fail(self, name: str, failure: DeploymentError, status: Status) -> None:
        self._failures[name] = failure
        cause, cure = failure.cause or "", failure.cure or ""
        self._tell(ModelFailed(deployment=status.name, model=name, message=failure.message, cause=cause, cure=cure))
        self._progress(name, f"failed · {failure.message}")
