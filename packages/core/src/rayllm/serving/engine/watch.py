"""Watching a serving engine: does it live, does it work, what is its load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rayllm.engines import AnyEngine
from rayllm.errors import DeploymentError
from rayllm.serving.engine.client import FAULTS
from rayllm.serving.engine.health import HangWatch
from rayllm.serving.engine.load import Load
from rayllm.serving.engine.running import RunningEngine

WATCH_S = 1.0
PROBE_S = 30.0
"""How often an idle engine has to generate a token."""
DRAIN_POLL_S = 0.2


class EngineWatch:
    """One engine that answered its first prompt; `tell` is given its load whenever that was looked at."""

    def __init__(
        self, running: RunningEngine, engine: AnyEngine, model: str, hang_s: float, tell: Callable[[Load], None]
    ) -> None:
        self._hang_s = hang_s
        self._tell = tell
        self._running = running
        self._engine = engine
        self._model = model
        self.load: Load | None = None
        """The engine's own numbers as last seen; None if it does not tell."""

    async def until_broken(self) -> DeploymentError:
        """Return, with the reason, once the engine is dead, hung or deaf."""
        hang, heard, probed = HangWatch(), time.monotonic(), time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            if self._running.process.poll() is not None:
                return self._running.failure(self._engine, "died while serving", topic="engine-died")
            if self._engine.gauges is None:
                continue
            now, load = time.monotonic(), await self._running.client.load()
            if load is None:
                if now - heard > self._hang_s:
                    what = f"the engine's metrics have not answered for {now - heard:.0f} s"
                    return DeploymentError(what, topic="engine-died")
                continue
            self.load, heard = load, now
            self._tell(load)
            if (stuck := hang.stuck_for(load, now)) > self._hang_s:
                return DeploymentError(f"the engine has work and made no token for {stuck:.0f} s", topic="engine-died")
            if load.ongoing:
                probed = now
            elif now - probed > PROBE_S:
                # Only an idle engine is asked: behind a full queue the question would kill the busiest replica.
                probed = now
                if problem := await self._probe():
                    return problem

    async def drain(self, seconds: float) -> None:
        """Return when no request is in the engine, at the latest after `seconds`; at once if it does not tell."""
        deadline = time.monotonic() + seconds
        while self._engine.gauges and self._running.process.poll() is None and time.monotonic() < deadline:
            load = await self._running.client.load()
            if load and not load.ongoing:
                return
            await asyncio.sleep(DRAIN_POLL_S)

    async def _probe(self) -> DeploymentError | None:
        try:
            await self._running.client.try_one_token(self._model, self._hang_s)
        except FAULTS as problem:
            if self._running.process.poll() is None:
                return DeploymentError(
                    f"the engine did not generate a token when idle: {problem!r}", topic="engine-died"
                )
        return None
