"""The guard of a replica, where one is needed: on a machine that is not the gateway's."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from rayllm.errors import RayllmError
from rayllm.serving import where
from rayllm.serving.haproxy.guard import Guard
from rayllm.serving.processes.ports import HeldPort, hold_port

logger = logging.getLogger(__name__)
LOOK_S = 1.0


class Guarding:
    """A guard that is started again whenever it ends. Make it with `start`."""

    def __init__(self, guard: Guard, port: HeldPort) -> None:
        self._guard = guard
        self._port = port
        self._watch = asyncio.create_task(self._keep())

    @classmethod
    async def start(cls, engine_port: int, key: str, *, log: Path, marker: str) -> Guarding | None:
        """A guard before the engine at this port; None on the gateway's machine.

        Also None where it can't be started (there may be no HAProxy): Serve's proxy leads to the replica too.
        """
        if (host := await asyncio.to_thread(where.address_for_gateway)) is None:
            return None
        port = None
        try:
            port = await asyncio.to_thread(hold_port, host)
            guard = await asyncio.to_thread(Guard, host, port.number, engine_port, key, log=log, marker=marker)
        except (RayllmError, OSError) as problem:
            logger.warning("this replica is reached through Serve's proxy alone: %s", problem)
            if port:
                port.release()
            return None
        return cls(guard, port)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._guard.address

    async def stop(self) -> None:
        """End it and give its port back."""
        self._watch.cancel()
        await asyncio.to_thread(self._guard.stop)
        self._port.release()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if await asyncio.to_thread(self._guard.revive):
                    logger.warning("the guard had ended; it runs again")
            except (RayllmError, OSError):
                logger.exception("the guard could not be started again")
