"""One further node rank of a replica: an actor on its node, which prepares that and watches the rank's process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rayllm.serving import where
from rayllm.serving.directory.state import LaterReport
from rayllm.serving.engine.environ import engine_env
from rayllm.serving.engine.log_tail import tail
from rayllm.serving.engine.preparing import Prepared, prepare
from rayllm.serving.interfaces import interface_of
from rayllm.serving.processes.ports import HeldPort, hold_port
from rayllm.serving.processes.supervised import Supervised, sweep
from rayllm.serving.spec import ModelSpec

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rank is."""

    node: str
    """Ray's id of the node."""
    address: str


@dataclass(frozen=True, slots=True)
class End:
    """A rank's process that ended."""

    at: float
    """Unix time."""
    status: int
    """Of its exit; negative for a signal."""
    lines: list[str]
    """What it wrote last."""


class Rank:
    """Lives as long as the replica, whose actor owns it.

    Args:
        args: the model, as its replica gets it.
        number: 1 or higher; 0 is the replica's own.
        marker: whose its processes are.
        log: the file that its process writes to, relative to Ray's log folder.
    """

    def __init__(self, args: dict[str, Any], number: int, marker: str, log: str) -> None:
        self._spec = ModelSpec.from_args(args)
        self._number = number
        self._marker = marker
        self._log = where.ray_logs() / log
        self._detail = ""
        self._prepared: Prepared
        self._process: Supervised | None = None
        self._port: HeldPort | None = None

    def place(self) -> Place:
        """Its node."""
        return Place(where.node_id(), where.node_address())

    async def prepare(self) -> None:
        """Make its node ready.

        Raises:
            RayllmError: it can't be.
        """
        self._prepared = await prepare(self._spec, self)

    def said(self) -> str:
        """How far its preparation is."""
        return self._detail

    def detail(self, detail: str) -> None:
        """As a `Teller`."""
        self._detail = detail

    def tell(self, facts: LaterReport) -> None:
        """As a `Teller`; what the replica tells of its own node is enough."""

    async def enter(self, phase: str) -> None:
        """As a `Teller`."""
        self._detail = phase

    async def start(self, addresses: Sequence[str], rendezvous_port: int) -> None:
        """Start the process.

        Raises:
            RayllmError: it can't be started.
        """
        self._port = await asyncio.to_thread(hold_port, HOST)
        command = self._prepared.commands(
            host=HOST,
            port=self._port.number,
            addresses=tuple(addresses),
            rendezvous_port=rendezvous_port,
            interface=interface_of(addresses[self._number]),
        )[self._number]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        env = engine_env(os.environ, command, where.gpu_ids())
        self._process = await asyncio.to_thread(
            Supervised.start, command.argv, env=env, log=self._log, marker=self._marker
        )

    async def ended(self) -> End:
        """Return when the process has ended; its reaper ends what that started."""
        process = self._process
        assert process is not None  # noqa: S101  asked after `start`
        status = await asyncio.to_thread(process.wait)
        return End(process.ended_at, status, tail(self._log))

    async def stop(self) -> None:
        """End its process, and give its port back."""
        if self._process:
            await asyncio.to_thread(self._process.stop)
        await asyncio.to_thread(sweep, self._marker)
        if self._port:
            self._port.release()
