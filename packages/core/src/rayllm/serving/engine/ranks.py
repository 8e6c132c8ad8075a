"""The node ranks of one replica, seen from rank 0: placed, prepared and started together, and ended as one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rayllm.engines import RENDEZVOUS_PORTS, AnyEngine
from rayllm.errors import DeploymentError, RayllmError
from rayllm.serving import where
from rayllm.serving.directory.membership import ElsewhereError
from rayllm.serving.engine.ending import ending
from rayllm.serving.engine.rank import Place, Rank
from rayllm.serving.engine.running import RunningEngine
from rayllm.serving.interfaces import interface_of
from rayllm.serving.processes.ports import HeldPort, hold_port
from rayllm.serving.spec import ModelSpec

T = TypeVar("T")
TELL_S = 1.0
SETTLE_S = 3.0
"""Seconds for the other ranks to end after the first: which of them broke first is told."""
STOP_S = 15.0
"""Seconds for a rank to stop; then its actor is killed, with which all its processes end."""
_LOST = "see whether the node is up: rayllm status; what was lost, Ray's log there tells"


class Ranks:
    """The ranks beside rank 0; none for a replica on one node.

    Args:
        spec: the model.
        marker: whose processes they are.
        log: rank 0's log, relative to Ray's log folder.
    """

    def __init__(self, spec: ModelSpec, marker: str, log: str) -> None:
        self._logs = [log.removesuffix(".log") + f".rank{number}.log" for number in range(1, spec.nodes)]
        group = ray.util.get_current_placement_group() if self._logs else None
        needs: dict[str, Any] = {"num_cpus": spec.cpus, "num_gpus": spec.gpus}
        needs |= {"memory": spec.memory} if spec.memory else {}
        self._actors = [
            ray.remote(Rank)
            .options(**needs, scheduling_strategy=PlacementGroupSchedulingStrategy(group, number))
            .remote(spec.to_args(), number, f"{marker}:rank{number}", log)
            for number, log in enumerate(self._logs, start=1)
        ]
        self._places: list[Place] = []
        self._held: HeldPort | None = None
        self._ends: list[asyncio.Task[Any]] = []

    async def prepare(self, report: Callable[[str], None]) -> list[str]:
        """Make their nodes ready; returns Ray's ids of them.

        Raises:
            ElsewhereError: one of them can't be, or is lost.
        """
        self._places = await self._all(lambda actor: actor.place.remote())
        working = asyncio.ensure_future(self._all(lambda actor: actor.prepare.remote()))
        try:
            while not (await asyncio.wait([working], timeout=TELL_S))[0]:
                for number, said in enumerate(await self._all(lambda actor: actor.said.remote()), start=1):
                    report(f"{self._name(number)}: {said}")
            await working
        finally:
            working.cancel()
        return [place.node for place in self._places]

    async def start(self) -> dict[str, Any]:
        """Start their processes; returns the fields of rank 0's `Launch` by which it meets them.

        Raises:
            ElsewhereError: one can't be started, or is lost.
            ClusterError: no ports are free.
        """
        if not self._actors:
            return {}
        own = where.node_address()
        self._held = held = await asyncio.to_thread(hold_port, own, RENDEZVOUS_PORTS)
        addresses = (own, *(place.address for place in self._places))
        await self._all(lambda actor: actor.start.remote(addresses, held.number))
        self._ends = [asyncio.create_task(self._answer(n, self._actors[n - 1].ended.remote())) for n in self._numbers()]
        return {"addresses": addresses, "rendezvous_port": held.number, "interface": interface_of(own)}

    async def beside(self, leader: Awaitable[T], running: RunningEngine, engine: AnyEngine, what: str, topic: str) -> T:
        """What rank 0 does, as long as the others live.

        Args:
            leader: what it does; an error that it raises or returns is rank 0's own.
            running: rank 0's process.
            engine: whose ranks they are.
            what: what a rank did that ended meanwhile: `died while serving`.
            topic: of the troubleshooting page, for such a rank.

        Raises:
            ElsewhereError: of the rank that seems to have broken first.
        """
        doing = asyncio.ensure_future(leader)
        try:
            await asyncio.wait([doing, *self._ends], return_when=asyncio.FIRST_COMPLETED)
            if any(end.done() for end in self._ends) or _error_of(doing):
                # All break by the loss of one, some of them at once. One whose log explains itself comes first.
                await asyncio.wait([doing, *self._ends], timeout=SETTLE_S)
                told: list[tuple[float, DeploymentError]] = [
                    self._told(number, engine, what, topic)
                    for number in self._numbers()
                    if self._ends[number - 1].done()
                ]
                if own := _error_of(doing):
                    ended = running.process.poll() is not None
                    told.append((running.process.ended_at if ended else time.time(), own))
                raise min(told, key=lambda one: (one[1].cure is None, one[0]))[1]
            return await doing
        finally:
            doing.cancel()

    async def stop(self) -> None:
        """End them and everything they started."""
        for end in self._ends:
            end.cancel()
        stopping = asyncio.gather(*(actor.stop.remote() for actor in self._actors))
        with contextlib.suppress(asyncio.TimeoutError, RayError):  # one that is gone, or does not stop, is killed below
            await asyncio.wait_for(stopping, STOP_S)
        for actor in self._actors:
            ray.kill(actor)
        if self._held:
            self._held.release()

    def _numbers(self) -> range:
        return range(1, 1 + len(self._actors))

    def _name(self, number: int) -> str:
        place = f" ({self._places[number - 1].address})" if self._places else ""
        return f"node {number + 1} of {1 + len(self._actors)}{place}"

    async def _all(self, ask: Callable[[Any], Any]) -> list[Any]:
        return await asyncio.gather(*(self._answer(n, ask(self._actors[n - 1])) for n in self._numbers()))

    async def _answer(self, number: int, asked: Any) -> Any:
        """A rank's answer.

        Raises:
            ElsewhereError: what it raised; or that it is lost.
        """
        try:
            return await asked
        except RayTaskError as failed:
            cause = failed.cause
            if not isinstance(cause, RayllmError):
                cause = RayllmError(f"{type(cause).__name__}: {cause}", topic="bug")
            raise self._elsewhere(number, cause) from failed
        except RayActorError as gone:
            lost = RayllmError("it was lost", cause=str(gone).splitlines()[0], cure=_LOST, topic="engine-died")
            raise self._elsewhere(number, lost) from gone

    def _told(self, number: int, engine: AnyEngine, what: str, topic: str) -> tuple[float, DeploymentError]:
        """When and how a rank ended."""
        done = self._ends[number - 1]
        if lost := _error_of(done):
            return time.time(), lost
        end = done.result()
        return end.at, self._elsewhere(
            number, ending(engine, "its rank", what, status=end.status, lines=end.lines, topic=topic)
        )

    def _elsewhere(self, number: int, error: RayllmError) -> ElsewhereError:
        return ElsewhereError(
            f"{self._name(number)}: {error.message}",
            cause=error.cause,
            cure=error.cure,
            topic=error.topic,
            node=self._places[number - 1].node if self._places else "",
            log=self._logs[number - 1] if self._ends else "",
        )


def _error_of(task: asyncio.Future[Any]) -> DeploymentError | None:
    """The error that a task ended with, raised or returned."""
    if not task.done():
        return None
    found = task.exception() or task.result()
    if isinstance(found, DeploymentError):
        return found
    if isinstance(found, BaseException):
        raise found
    return None
