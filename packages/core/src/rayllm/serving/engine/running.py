"""Starting an engine's process: its command, its first answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rayllm.engines import AnyEngine, Command
from rayllm.errors import DeploymentError
from rayllm.serving.containers.container import Container
from rayllm.serving.engine.client import FAULTS, EngineClient
from rayllm.serving.engine.ending import ending
from rayllm.serving.engine.environ import engine_env
from rayllm.serving.engine.log_tail import tail
from rayllm.serving.processes.supervised import Supervised

POLL_S = 0.2
FIRST_ANSWER_S = 300.0
"""Seconds for the first token: the first request may compile kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEngine:
    """An engine that is starting or serving."""

    process: Supervised
    client: EngineClient
    log: Path
    container: Container | None = None
    """What the engine runs in; `process` is then its client."""

    @classmethod
    def start(
        cls,
        engine: AnyEngine,
        command: Command,
        *,
        base_url: str,
        log: Path,
        marker: str,
        gpu_ids: list[str],
        container: Container | None = None,
    ) -> RunningEngine:
        """Start the process, in `container` if there is one; its output goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        argv = container.argv if container else command.argv
        env = container.env if container else engine_env(os.environ, command, gpu_ids)
        process = Supervised.start(argv, env=env, log=log, marker=marker)
        client = EngineClient(base_url, command, engine.gauges)
        return cls(process=process, client=client, log=log, container=container)

    async def wait_until_serving(self, engine: AnyEngine, model: str, report: Callable[[str], None]) -> None:
        """Return after the engine's first real answer; meanwhile `report` gets its last log line.

        Raises:
            DeploymentError: it stopped, or answers for another model; the cause is its own last error.
        """
        while not await self.client.is_ready():
            if self.process.poll() is not None:
                raise self.failure(engine, "stopped while starting", topic="engine-start")
            if last := tail(self.log, 1):
                report(last[0])
            await asyncio.sleep(POLL_S)
        report("asking for a first token")
        try:
            names = await self.client.served_models()
            if model not in names:
                raise DeploymentError(
                    f"{self.client.base_url} serves {', '.join(names) or 'nothing'} instead of {model}",
                    cure="another program took the port between two looks; run `rayllm up` again",
                    topic="engine-start",
                )
            await self.client.try_one_token(model, FIRST_ANSWER_S)
        except FAULTS as problem:
            what = f"did not answer its first prompt ({problem!r})"
            raise self.failure(engine, what, topic="engine-start") from problem

    def failure(self, engine: AnyEngine, what: str, *, topic: str) -> DeploymentError:
        """What a person needs to know about an engine that died or fails."""
        status, lines = self.process.poll(), tail(self.log)
        if self.container:
            if refused := self.container.refused(status, lines):
                return refused
            status = self.container.status(status)
        return ending(engine, "the engine", what, status=status, lines=lines, topic=topic)

    async def stop(self, grace_s: float | None = None) -> None:
        """End the process and everything it started."""
        await self.client.close()
        await asyncio.to_thread(self.process.stop, grace_s)
        if self.container:
            await asyncio.to_thread(self.container.remove)
