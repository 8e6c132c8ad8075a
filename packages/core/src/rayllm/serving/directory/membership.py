"""A replica's entry in the directory: reported at once when it changes, renewed while it lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import ray

from rayllm.errors import DeploymentError, RayllmError
from rayllm.faults import from_system
from rayllm.serving.directory.actor import directory
from rayllm.serving.directory.state import RENEW_S, LaterReport, ReplicaReport

logger = logging.getLogger(__name__)


class ElsewhereError(DeploymentError):
    """A replica failed by what happened on a node that is not its own.

    Args:
        message: as of any error, like `told`.
        node: Ray's id of that node.
        log: the log there, relative to Ray's log folder; empty where there is none yet.
        told: cause, cure and topic.
    """

    def __init__(self, message: str, *, node: str = "", log: str = "", **told: str | None) -> None:
        super().__init__(message, **told)
        self.node = node
        self.log = log


class Membership:
    """Speaks for one replica. `detail` may be set from any thread; `phase` is set in the event loop."""

    def __init__(self, report: ReplicaReport) -> None:
        self._report = report
        self._directory = directory()
        self._left = False
        self._renewal = asyncio.create_task(self._renew())

    def detail(self, detail: str) -> None:
        """Say how far the phase is; goes out with the next renewal."""
        self._report["detail"] = detail[:300]

    def tell(self, facts: LaterReport) -> None:
        """Say more; goes out with the next renewal."""
        self._report.update(facts)  # type: ignore[typeddict-item]  # a part of it

    async def tell_now(self, facts: LaterReport) -> None:
        """Say more, at once."""
        self.tell(facts)
        await self._send()

    async def enter(
        self, phase: str, detail: str = "", *, port: int | None = None, guard: tuple[str, int] | None = None
    ) -> None:
        """Begin a phase and tell the directory at once."""
        self._report["phase"], self._report["detail"], self._report["since"] = phase, detail, time.time()
        if port is not None:
            self._report["port"] = port
        if guard is not None:
            self._report["guard"] = guard
        await self._send()

    async def fail(self, error: Exception) -> None:
        """Leave with the reason."""
        self._left = True
        if isinstance(error, OSError):
            error = from_system(error)
        elif not isinstance(error, RayllmError):
            error = RayllmError(f"{type(error).__name__}: {error}", topic="bug")
        report = self._report
        if isinstance(error, ElsewhereError) and error.node:
            report = {**report, "node": error.node, "log": error.log}
        with contextlib.suppress(ray.exceptions.RayActorError):
            await self._directory.fail.remote(
                report, error.message, error.cause or "", error.cure or "", error.topic or ""
            )

    async def leave(self) -> None:
        """Leave, and wait until the gateways route elsewhere (a second at most)."""
        self._left = True
        self._report["phase"] = "leaving"
        with contextlib.suppress(ray.exceptions.RayActorError):
            confirmed = await self._directory.leave.remote(self._report["deployment"], self._report["replica"])
            if not confirmed:
                logger.warning("a gateway did not confirm in time that %s left", self._report["replica"])

    async def _renew(self) -> None:
        while not self._left:
            await self._send()
            await asyncio.sleep(RENEW_S)

    async def _send(self) -> None:
        try:
            await self._directory.report.remote(self._report)
        except ray.exceptions.RayError as gone:
            # It is being restarted (max_restarts=-1) or its node died: the next renewal finds the new one. Whatever it
            # is, a renewal that ended would take a replica that serves out of the gateways.
            logger.warning("the directory did not answer: %s", gone)
            self._directory = directory()
