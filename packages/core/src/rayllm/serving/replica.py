"""A Serve replica: prepares, starts and watches one engine, and is known to the gateways while it serves."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import partial
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from rayllm.engines import AnyEngine
from rayllm.errors import DeploymentError
from rayllm.serving import where
from rayllm.serving.adapters.fetching import fetch_adapter
from rayllm.serving.adapters.holding import Holding
from rayllm.serving.directory.membership import Membership
from rayllm.serving.directory.state import ReplicaReport
from rayllm.serving.engine.forward import forward
from rayllm.serving.engine.guarding import Guarding
from rayllm.serving.engine.health import hang_s
from rayllm.serving.engine.load import Load
from rayllm.serving.engine.preparing import Prepared, prepare
from rayllm.serving.engine.ranks import Ranks
from rayllm.serving.engine.running import RunningEngine
from rayllm.serving.engine.watch import EngineWatch
from rayllm.serving.keys import internal_key, ray_token
from rayllm.serving.prepare.arguments import check_command
from rayllm.serving.processes.ports import HeldPort, hold_port
from rayllm.serving.processes.supervised import sweep
from rayllm.serving.spec import MODEL_DEPLOYMENT, STARTS, ModelSettings, ModelSpec, app_name

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
DIED = ("died while serving", "engine-died")


class EngineReplica:
    """Prepare, start, register, watch; leave, drain, stop."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        self.spec = ModelSpec.from_args(args)
        self._prepared: Prepared
        self._running: RunningEngine
        self._port: HeldPort | None = None
        self._guarding: Guarding | None = None
        self._holding: Holding | None = None
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._marker = f"{app_name(self.spec.deployment, self.spec.model)}:{self._replica}"
        self._key = internal_key(self.spec.deployment, self.spec.model)
        self._token = ray_token()
        self._member = Membership(self._first_report())
        self._ranks = Ranks(self.spec, self._marker, self._first_report()["log"])
        try:
            await self._bring_up()
        except Exception as problem:
            await self._member.fail(problem)
            await self._stop_engine()
            raise
        hang = hang_s(self._prepared.device)
        self._watch = EngineWatch(self._running, self._engine, self.spec.model, hang, self._tell_load)
        self._watching = asyncio.create_task(self._end_when_broken())

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve calls this with the model's adapters, right after the start and whenever they change.

        At the start it waits for them: until then, Serve holds the requests that woke the model up.
        """
        first = self._holding is None
        if first and (how := self._engine.adapters):
            self._holding = Holding(
                how,
                self._running.client,
                model=self.spec.model,
                folder=self._prepared.folder,
                highest=getattr(self._prepared.options, how.rank),
                fetch=partial(fetch_adapter, plugins=self._prepared.plugins, image=self.spec.image),
                tell=lambda told: self._member.tell_now({"adapters": told}),
            )
        if self._holding:
            self._holding.want(ModelSettings.from_user_config(user_config).adapters)
            if first:
                await self._holding.settled()

    async def __call__(self, request: Request) -> Response:
        """Answer what comes through Serve's own proxy, from the gateway or whoever has the cluster's token."""
        return await forward(request, self._running.client, self._key, self._token)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The engine's own load, since most requests do not pass through Serve."""
        load = self._watch.load
        return {"ongoing": load.ongoing if load else 0.0}

    async def __del__(self) -> None:
        """Leave the gateways, let requests in flight finish, stop the engine. Serve bounds the whole."""
        await self._member.leave()
        if not hasattr(self, "_watch"):  # stopped while it was starting
            await self._stop_engine()
            return
        self._watching.cancel()
        if self._holding:
            self._holding.stop()
        await self._watch.drain(self.spec.drain_s)
        # An engine that does not tell its load is asked to end, and finishes its requests by itself.
        await self._stop_engine(self.spec.drain_s if self._engine.gauges is None else None)

    @property
    def _engine(self) -> AnyEngine:
        return self._prepared.engine

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

    def _tell_load(self, load: Load) -> None:
        self._member.tell({"computing": load.running, "queued": load.waiting})

    async def _bring_up(self) -> None:
        others = self._ranks.prepare(self._member.detail)
        self._prepared, ranks = await asyncio.gather(prepare(self.spec, self._member), others)
        if ranks:
            self._member.tell({"ranks": ranks})
        self._port = await asyncio.to_thread(hold_port, HOST)
        meeting = await self._ranks.start()
        engine, command = self._engine, self._prepared.commands(host=HOST, port=self._port.number, **meeting)[0]
        await asyncio.to_thread(
            check_command,
            engine,
            command.argv,
            version=self.spec.version,
            python=self._prepared.python,
            device=self._prepared.device,
            report=self._member.detail,
        )
        await self._member.enter("starting")
        marker, gpus = self._marker, where.gpu_ids()
        self._running = RunningEngine.start(
            engine,
            command,
            base_url=f"http://{HOST}:{self._port.number}",
            log=where.ray_logs() / self._first_report()["log"],
            marker=marker,
            gpu_ids=gpus,
            container=await asyncio.to_thread(self._prepared.container, command, marker, gpus),
        )
        serving = self._running.wait_until_serving(engine, self.spec.model, self._member.detail)
        await self._ranks.beside(serving, self._running, engine, "stopped while starting", "engine-start")
        log = self._running.log.with_suffix(".guard.log")
        self._guarding = await Guarding.start(self._port.number, self._key, log=log, marker=self._marker)
        guard = self._guarding.address if self._guarding else None
        await self._member.enter("ready", port=self._port.number, guard=guard)

    async def _end_when_broken(self) -> None:
        """Say why and end this process: a replica that is gone Serve replaces at once, one that is ill after 6 s."""
        try:
            try:
                broken = self._watch.until_broken()
                problem = await self._ranks.beside(broken, self._running, self._engine, *DIED)
            except DeploymentError as other:
                problem = other
            logger.error("%s", problem)
            await self._member.fail(problem)
            await self._stop_engine()
        except asyncio.CancelledError:
            raise  # the replica is stopped in good order
        except Exception:
            logger.exception("the watch over the engine failed")
        os._exit(1)

    async def _stop_engine(self, grace_s: float | None = None) -> None:
        if running := getattr(self, "_running", None):
            await running.stop(grace_s)
        await self._ranks.stop()  # not sooner: the requests that are finished take all ranks
        if self._guarding:
            await self._guarding.stop()
        await asyncio.to_thread(sweep, self._marker)
        if self._port:
            self._port.release()


def build(args: dict[str, Any]) -> serve.Application:
    """Serve's builder for a model's application."""
    return serve.deployment(EngineReplica, name=MODEL_DEPLOYMENT, max_constructor_retry_count=STARTS).bind(args)
