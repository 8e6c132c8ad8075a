"""The directory as a named, detached Ray actor, and how to get hold of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import ray

from rayllm.serving.directory.state import DirectoryState, ReplicaReport, Snapshot
from rayllm.serving.where import HEAD

NAME = "rayllm-directory"
NAMESPACE = "rayllm"
CONFIRM_S = 1.0
"""How long a leaving replica waits for the gateways."""


class Directory:
    """One per cluster. Keeps nothing on disk: after a restart the renewals fill it again."""

    def __init__(self) -> None:
        self._state = DirectoryState()
        self._changed = asyncio.Event()
        self._expiry = asyncio.get_running_loop().create_task(self._expire())

    async def report(self, report: ReplicaReport) -> None:
        """A replica reports its phase and renews its lease."""
        with self._notify():
            self._state.report(report)

    async def leave(self, deployment: str, replica: str) -> bool:
        """Take a replica out; True when every gateway confirmed within a second."""
        with self._notify():
            version = self._state.leave(replica)
        deadline = asyncio.get_running_loop().time() + CONFIRM_S
        while not self._state.confirmed(deployment, version):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            await self._wait(left)
        return True

    async def fail(self, report: ReplicaReport, message: str, cause: str, cure: str, topic: str) -> None:
        """A replica says why it failed, and is gone."""
        with self._notify():
            self._state.fail(report, message, cause, cure, topic)
            self._state.leave(report["replica"])

    async def watch(self, gateway: str, deployment: str, version: int, timeout_s: float) -> Snapshot:
        """Long poll: confirms `version`, returns as soon as there is another one."""
        with self._notify():
            self._state.confirm(gateway, deployment, version)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self._state.version == version and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await self._wait(left)
        return self._state.snapshot(deployment)

    async def snapshot(self, deployment: str) -> Snapshot:
        """Everything known of one deployment."""
        if self._state.expire():
            with self._notify():
                pass
        return self._state.snapshot(deployment)

    async def acquire(self, deployment: str, holder: str, ttl_s: float, instead_of: str) -> str:
        """Take or renew the right to change a deployment; returns who has it."""
        return self._state.acquire(deployment, holder, ttl_s, instead_of)

    async def release(self, deployment: str, holder: str) -> None:
        """Give that right back."""
        self._state.release(deployment, holder)

    @contextlib.contextmanager
    def _notify(self) -> Any:
        yield
        self._changed.set()
        self._changed = asyncio.Event()

    async def _wait(self, timeout_s: float) -> None:
        changed = self._changed
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), timeout_s)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(1)
            if self._state.expire():
                with self._notify():
                    pass


def directory() -> Any:
    """The cluster's directory, started if there is none. Call it inside the cluster."""
    return (
        ray.remote(Directory)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=1000,
            num_cpus=0,
            # Where the gateway is: a worker that it ran on could not be drained before the drain's last second.
            resources={HEAD: 0.001},
            # Else one that is started by a replica on several nodes would end with that replica's placement group.
            scheduling_strategy="DEFAULT",
        )
        .remote()
    )
