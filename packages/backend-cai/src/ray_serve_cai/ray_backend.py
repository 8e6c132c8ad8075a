"""The old tool's models, on top of RayLLM's deployments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray_serve_cai.deployments import Place, plugins, report
from ray_serve_cai.gone import deprecated
from ray_serve_cai.places import place_of
from rayllm import AsyncRayLLM, Cluster, InputError, ModelStatus, RayLLM, RayllmError
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.down import remove_models
from rayllm.serving.spec import app_name
from rayllm_backend_cai.migrate.models import Model, model_of
from rayllm_backend_cai.migrate.old import Block, Note, Notes

POLL_S = 1.0
_WORDS = {"ready": "running", "failed": "deploy_failed", "unhealthy": "unhealthy", "restarting": "unhealthy"}
"""By RayLLM's word for a model's state, Serve's, which the old tool gave; any other is `deploying`."""
_NO_RAY = {"running": False, "status": "ray_not_initialized"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """A cluster that was found."""

    place: Place
    llm: RayLLM
    """With the model that was started last."""


class RayBackend:
    """One model on a Ray cluster: this machine's, one that is there, or one on Cloudera AI.

    Args:
        allow_open: take a Ray cluster that asks for no token, as the old tool did: whoever reaches it runs code on it.
    """

    def __init__(self, *, allow_open: bool = False) -> None:
        self._allow_open = allow_open
        self._at: Opened | None = None

    async def initialize_ray(self, address: str | None = None) -> Json:
        """Find the cluster; without an address, the one of this machine, which is started if there is none.

        Args:
            address: `auto`, `HOST:6379`, `ray://HOST:10001`, a dashboard's URL, or `head_address` of
                `CAIClusterManager.start_cluster`.
        """
        deprecated("RayBackend.initialize_ray", "`cluster:` of rayllm.yaml: backend local, ray or cai")
        return await self._initialize(address)

    async def start_model(
        self, vllm_config: Mapping[str, Any], wait_ready: bool = False, engine: str | None = None
    ) -> Json:
        """Deploy a model, in the place of one that was deployed before; returns when it is ready.

        Args:
            vllm_config: its settings, by the old tool's names.
            wait_ready: add `ready` and `elapsed_time` to the result.
            engine: the engine; by default the settings' `engine`, else vLLM.
        """
        notes = Notes()
        old = Block(vllm_config, notes)
        port = old.whole("port", least=1)
        model = model_of(old, engine=engine or "", gpus_per_node=self._at.place.gpus_per_node if self._at else None)
        old.end()
        notes.notes += [Note(0, "", "the endpoint listens on 127.0.0.1, or is behind the workspace's log-in")]
        deprecated("RayBackend.start_model", 'RayLLM.from_file("rayllm.yaml").up()', sorted(notes.notes))
        if notes.problems:
            return _not_started("invalid_config", "; ".join(f"{one.name}: {one.message}" for one in notes.problems))
        if model.block["engine"] not in (installed := plugins().engines):
            name = model.block["engine"]
            return _not_started(
                "invalid_engine", f'Engine "{name}" not found. Available: {", ".join(sorted(installed))}'
            )
        if self._at is None and not (found := await self._initialize(None))["initialized"]:
            return _not_started("ray_init_failed", found["message"])
        return await self._start(model, port, vllm_config, wait_ready=wait_ready)

    async def wait_for_ready(self, port: int = 8000, timeout: int = 120) -> Json:  # noqa: ARG002
        """Wait until the model is ready, `timeout` seconds at most; `port` says nothing any more."""
        deprecated("RayBackend.wait_for_ready", "RayLLM.up, which waits")
        if self._at is None:
            return {"ready": False, "error": "ray_not_initialized"}
        began, last = time.monotonic(), ""
        while (waited := time.monotonic() - began) < timeout:
            try:
                found = await asyncio.to_thread(self._model)
                if found and found.state == "ready":
                    return {"ready": True, "elapsed_time": round(waited, 1)}
                last = (found.cause or found.state) if found else "not deployed"
            except RayllmError as error:
                last = str(error)
            await asyncio.sleep(POLL_S)
        return {"ready": False, "error": "timeout", "elapsed_time": round(waited, 1), "last_error": last}

    async def stop_model(self) -> Json:
        """Stop the model; its requests finish first. The cluster stays."""
        deprecated("RayBackend.stop_model", "RayLLM.down, which removes the cluster, too, where RayLLM made it")
        return await self._stop()

    async def get_status(self) -> Json:
        """What the model does, as the cluster reports it: also one that another process started."""
        deprecated("RayBackend.get_status", "RayLLM.status")
        if self._at is None:
            return dict(_NO_RAY)
        try:
            found = await asyncio.to_thread(self._model)
        except RayllmError as error:
            return {"running": False, "status": "error", "error": str(error)}
        if found is None:
            return {"running": False, "status": "not_deployed"}
        words = _WORDS.get(found.state, "deploying")
        message = ": ".join(filter(None, (found.cause, found.cure)))
        return {
            "running": words == "running",
            "status": words,
            "application_name": app_name(self._at.place.name, found.name),
            "deployments": [{"name": found.name, "status": words.upper(), "message": message}],
        }

    async def get_logs(self, tail: int = 100) -> AsyncIterator[str]:
        """The last lines that the model's engine wrote; the old tool only named the folder of Ray's logs."""
        deprecated("RayBackend.get_logs", "RayLLM.logs")
        if self._at is None:
            yield "[ERROR] Ray not initialized"
            return
        try:
            found = await asyncio.to_thread(self._model)
            if found is None:
                yield "[INFO] Application status: not_deployed"
                return
            text = "".join([piece async for piece in AsyncRayLLM(self._at.llm.session).logs(found.name, lines=tail)])
        except RayllmError as error:
            yield f"[ERROR] Failed to fetch logs: {error}"
            return
        for line in text.splitlines():
            yield line

    async def shutdown(self) -> None:
        """Stop the model, and the cluster where it is one of this machine's that was started here."""
        deprecated("RayBackend.shutdown", "RayLLM.down")
        await self._shutdown()

    def close(self) -> None:
        """As `shutdown`, for who has no event loop; in one, it goes on after this has returned."""
        deprecated("RayBackend.close", "RayLLM.down")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._shutdown())
        else:
            self._closing = loop.create_task(self._shutdown())  # a task that nobody holds may be lost

    async def _initialize(self, address: str | None) -> Json:
        known = self._at is not None
        try:
            at = await asyncio.to_thread(self._find, address)
            cluster = await asyncio.to_thread(_open, at)
            nodes = await asyncio.to_thread(_nodes, cluster)
        except RayllmError as error:
            message = f"Failed to initialize Ray cluster: {error}"
            return {"initialized": False, "error": error.message, "message": message}
        self._at = at
        return {
            "initialized": True,
            "mode": "already_initialized" if known else at.place.mode,
            "address": cluster.dashboard_url,
            "nodes": len(nodes),
            "node_info": nodes,
        }

    async def _start(self, model: Model, port: int | None, settings: Mapping[str, Any], *, wait_ready: bool) -> Json:
        began = time.monotonic()
        token = {"HF_TOKEN": str(settings["hf_token"])} if model.secrets else {}
        try:
            place = await asyncio.to_thread(self._opened.place.now)
            llm = place.deployment({model.name: model.block}, port=port, secrets=token)
            self._at = Opened(place, llm)
            status = await AsyncRayLLM(llm.session).up(report)
        except RayllmError as error:
            return _not_started(error.message, f"Failed to start deployment: {error}")
        return {
            "started": True,
            "engine": model.block["engine"],
            "application_name": app_name(place.name, model.name),
            "port": port or 8000,
            "status": "running",
            "model": settings.get("model_source") or settings["model"],
            "served_as": model.name,
            "endpoint": f"{status.gateway_url}/v1",
            **({"ready": True, "elapsed_time": round(time.monotonic() - began, 1)} if wait_ready else {}),
        }

    async def _stop(self) -> Json:
        if self._at is None:
            return {"stopped": True, "status": "not_running"}
        try:
            gone = await asyncio.to_thread(_remove, self._at.llm)
        except RayllmError as error:
            return {"stopped": False, "error": str(error), "status": "error"}
        return {"stopped": True, "status": "stopped" if gone else "not_running"}

    async def _shutdown(self) -> None:
        if self._at and self._at.place.mode == "local":
            await asyncio.to_thread(self._at.llm.down, report)
        else:
            await self._stop()

    def _find(self, address: str | None) -> Opened:
        """The cluster that is known, else the one at an address."""
        if self._at is not None:
            return self._at
        place = place_of(address)
        if place.backend == "ray" and self._allow_open:
            place = replace(place, options={**place.options, "allow_open": True})
        return Opened(place, place.deployment())

    @property
    def _opened(self) -> Opened:
        """The cluster.

        Raises:
            InputError: none was looked for yet.
        """
        if self._at is None:
            raise InputError("there is no cluster yet", cure="await backend.initialize_ray()")
        return self._at

    def _model(self) -> ModelStatus | None:
        """The model that is deployed; None if there is none.

        Raises:
            InputError: no cluster was looked for yet.
            ClusterError: it can't be asked.
        """
        return next(iter(self._opened.llm.status().models.values()), None)


def _open(at: Opened) -> Cluster:
    """The cluster, ready. One on Cloudera AI is taken as it is: `CAIClusterManager` brings it up."""
    try:
        return at.llm.session.find_ready() if at.place.backend == "cai" else at.llm.session.ensure(report)
    except InputError as error:
        if error.topic == "open-cluster":
            error.cure = "start it with RAY_AUTH_MODE=token, or accept it with RayBackend(allow_open=True)"
        raise


def _nodes(cluster: Cluster) -> list[Json]:
    with ServeApi.of(cluster) as api:
        return [
            {"node_id": node.id, "alive": node.state == "alive", "resources": dict(node.resources)}
            for node in api.nodes()
        ]


def _remove(llm: RayLLM) -> bool:
    """Take the models away, and nothing else; False if there were none."""
    if llm.session.find() is None:
        return False
    return remove_models(llm.session, llm.session.find_ready(), report)


def _not_started(error: str, message: str) -> Json:
    return {"started": False, "error": error, "message": message}


ray_backend = RayBackend()
"""One for all of a process."""
