"""A Serve replica: prepares, starts and watches one engine, and is known to the gateways while it serves."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import aiohttp
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from rayllm.engines import Launch
from rayllm.errors import DeploymentError
from rayllm.plugins import Plugins
from rayllm.serving import where
from rayllm.serving.directory.membership import Membership
from rayllm.serving.directory.state import ReplicaReport
from rayllm.serving.engine.forward import forward
from rayllm.serving.engine.health import HANG_S, HangWatch
from rayllm.serving.engine.load import Load
from rayllm.serving.engine.running import RunningEngine
from rayllm.serving.keys import internal_key
from rayllm.serving.prepare.devices import detect
from rayllm.serving.prepare.environments import ensure_environment
from rayllm.serving.processes.ports import HeldPort, hold_port
from rayllm.serving.processes.supervised import sweep
from rayllm.serving.spec import MODEL_DEPLOYMENT, STARTS, ModelSpec, app_name
from rayllm.serving.weights.ensure import ensure_weights

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
WATCH_S = 1.0
DRAIN_POLL_S = 0.2
PROBE_S = 30.0
"""How often an idle engine has to generate a token."""


class EngineReplica:
    """Prepare, start, register, watch; leave, drain, stop."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        self.spec = ModelSpec.from_args(args)
        self._problem: DeploymentError | None = None
        self._running: RunningEngine | None = None
        self._port: HeldPort | None = None
        self._load: Load | None = None
        self._watch: asyncio.Task[None] | None = None
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._marker = f"{app_name(self.spec.deployment, self.spec.model)}:{self._replica}"
        self._key = internal_key(self.spec.deployment, self.spec.model)
        self._member = Membership(self._first_report())
        try:
            await self._bring_up()
        except Exception as problem:
            await self._member.fail(problem)
            await self._stop_engine()
            raise
        self._watch = asyncio.create_task(self._watch_engine())

    async def __call__(self, request: Request) -> Response:
        """Answer what comes through Serve's own proxy: only the gateway knows the key."""
        client = self._running.client if self._running and not self._problem else None
        return await forward(request, client, self._key)

    async def check_health(self) -> None:
        """Serve asks every few seconds; an exception makes it replace this replica.

        Raises:
            DeploymentError: the engine died or hangs.
        """
        if self._problem:
            raise self._problem

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The engine's own load, since most requests do not pass through Serve."""
        return {"ongoing": self._load.ongoing if self._load else 0.0}

    async def __del__(self) -> None:
        """Leave the gateways, let requests in flight finish, stop the engine. Serve bounds the whole."""
        if self._watch:
            self._watch.cancel()
        await self._member.leave()
        await self._drain()
        await self._stop_engine()
        self._member.close()

    def _first_report(self) -> ReplicaReport:
        return ReplicaReport(
            deployment=self.spec.deployment,
            model=self.spec.model,
            replica=self._replica,
            node=where.node_id(),
            network=where.network_id(),
            phase="environment",
            detail="",
            since=time.time(),
            host=HOST,
            port=0,
            engine=self.spec.engine,
            log=f"{where.LOG_FOLDER}/{app_name(self.spec.deployment, self.spec.model)}.{self._replica}.log",
        )

    async def _bring_up(self) -> None:
        plugins = Plugins.discover()
        engine = plugins.engines.get(self.spec.engine)
        if engine is None:
            broken = "; ".join(f"{info.name}: {info.cause}" for info in plugins.infos if info.state == "broken")
            raise DeploymentError(f"no engine {self.spec.engine!r} on this node", cause=broken or None)
        self._engine = engine
        device = detect(self.spec.gpus)
        await self._member.enter("environment")
        python = await asyncio.to_thread(ensure_environment, engine, self.spec.environment, device, self._member.detail)
        await self._member.enter("weights")
        folder = await asyncio.to_thread(ensure_weights, self.spec.source, plugins, python, self._member.detail)
        self._port = await asyncio.to_thread(hold_port, HOST)
        command = engine.commands(
            Launch(
                python=python,
                model_path=str(folder),
                model_name=self.spec.model,
                options=engine.options.model_validate_json(json.dumps(self.spec.options)),
                host=HOST,
                port=self._port.number,
                device=device,
                gpus=self.spec.gpus,
                cpus=max(1, int(self.spec.cpus)),
                memory=self.spec.memory,
            )
        )[0]
        await self._member.enter("starting")
        self._running = RunningEngine.start(
            engine,
            command,
            base_url=f"http://{HOST}:{self._port.number}",
            log=where.ray_logs() / self._first_report()["log"],
            marker=self._marker,
            gpu_ids=where.gpu_ids(),
        )
        await self._running.wait_until_serving(engine, self.spec.model, self._member.detail)
        await self._member.enter("ready", port=self._port.number)

    async def _watch_engine(self) -> None:
        running, hang, probed = self._running, HangWatch(), time.monotonic()
        if running is None:
            return
        while self._problem is None:
            await asyncio.sleep(WATCH_S)
            if running.process.poll() is not None:
                self._problem = running.failure(self._engine, "died while serving")
                break
            self._load = await running.client.load()
            if self._load is None:
                continue
            now = time.monotonic()
            if (stuck := hang.stuck_for(self._load, now)) > HANG_S:
                self._problem = DeploymentError(f"the engine has work and made no token for {stuck:.0f} s")
            elif self._load.ongoing:
                probed = now
            elif now - probed > PROBE_S:
                # Only an idle engine is asked: behind a full queue the question would kill the busiest replica.
                probed = now
                await self._probe(running)
        await self._member.fail(self._problem)
        await asyncio.to_thread(sweep, self._marker)

    async def _probe(self, running: RunningEngine) -> None:
        try:
            await running.client.try_one_token(self.spec.model, HANG_S)
        except (aiohttp.ClientError, TimeoutError) as problem:
            if running.process.poll() is None:
                self._problem = DeploymentError(f"the engine did not generate a token when idle: {problem!r}")

    async def _drain(self) -> None:
        deadline = time.monotonic() + self.spec.drain_s
        while self._running and self._running.process.poll() is None and time.monotonic() < deadline:
            load = await self._running.client.load()
            if load is None or not load.ongoing:
                return
            await asyncio.sleep(DRAIN_POLL_S)

    async def _stop_engine(self) -> None:
        if self._running:
            await self._running.stop()
        await asyncio.to_thread(sweep, self._marker)
        if self._port:
            self._port.release()


def build(args: dict[str, Any]) -> serve.Application:
    """Serve's builder for a model's application."""
    return serve.deployment(EngineReplica, name=MODEL_DEPLOYMENT, max_constructor_retry_count=STARTS).bind(args)
