"""The old tool's cluster of applications, on top of the backend `cai`."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ray_serve_cai.deployments import KEY, Place, report
from ray_serve_cai.gone import deprecated
from ray_serve_cai.places import remember, stored_place
from rayllm import ClusterSpec, RayLLM, RayllmError
from rayllm.api import silent
from rayllm.backends import Progress
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.applications import group_of, of_cluster
from rayllm_backend_cai.migrate.clusters import GROUP, NAME, node, workers_of
from rayllm_backend_cai.migrate.old import Note
from rayllm_backend_cai.workspace import Workspace

_SAYS_NOTHING = {
    "ray_port": "RayLLM chooses Ray's ports",
    "dashboard_port": "Ray's dashboard is at ADDRESS/rayllm/ray, for who has its token",
    "head_script_path": "the backend brings the scripts that applications run",
    "worker_script_path": "the backend brings the scripts that applications run",
    "timeout": "each step has a bound of its own",
}
_DEFAULTS = {"ray_port": 6379, "dashboard_port": 8265, "timeout": 300}


class Answer(dict[str, Any]):
    """A dictionary that may be awaited: the old tool's pages await what its code returned at once."""

    def __await__(self) -> Generator[None, None, Answer]:
        """Itself, at once."""
        return self
        yield

    def send(self, _: object) -> NoReturn:
        """As a coroutine that is done: `asyncio.run` takes nothing else."""
        raise StopIteration(self)

    def throw(self, error: BaseException) -> NoReturn:
        """As a coroutine does that is not begun."""
        raise error

    def close(self) -> None:
        """Nothing is open."""


class CAIClusterManager:
    """A Ray cluster of applications: one head without GPUs, and workers.

    It is found again by its project from any process: nothing is kept in memory.

    Args:
        cml_host: the workspace's address.
        cml_api_key: an API v2 key.
        project_id: the project of the applications.
        verbose: log what goes on, as `ray_serve_cai`.
    """

    def __init__(self, cml_host: str, cml_api_key: str, project_id: str, verbose: bool = False) -> None:
        self.cml_host = cml_host
        self.cml_api_key = cml_api_key
        self.project_id = project_id
        self.verbose = verbose

    def start_cluster(  # noqa: PLR0917 - as it was
        self,
        num_workers: int = 1,
        cpu: int = 16,
        memory: int = 64,
        num_gpus: int = 0,
        head_cpu: int | None = None,
        head_memory: int | None = None,
        ray_port: int = 6379,
        dashboard_port: int = 8265,
        runtime_identifier: str | None = None,
        head_runtime_identifier: str | None = None,
        worker_runtime_identifier: str | None = None,
        head_script_path: str | None = None,
        worker_script_path: str | None = None,
        wait_ready: bool = True,
        timeout: int = 300,
    ) -> dict[str, Any]:
        """Create the cluster or take the one that is there, and wait until its nodes have joined.

        `head_address` of the result is what `RayBackend.initialize_ray` takes; no TCP port of Ray's is behind it.

        Raises:
            RayllmError: it can't be brought up. What was made stays, and the next call goes on with it.
        """
        given = {
            "ray_port": ray_port,
            "dashboard_port": dashboard_port,
            "head_script_path": head_script_path,
            "worker_script_path": worker_script_path,
            "timeout": timeout,
        }
        notes = [Note(0, name, text) for name, text in _SAYS_NOTHING.items() if given[name] != _DEFAULTS.get(name)]
        if not wait_ready:
            notes.append(Note(0, "wait_ready", "it is always waited for"))
        deprecated("CAIClusterManager.start_cluster", 'RayLLM.from_file("rayllm.yaml").up()', notes)
        coordinator = node(
            head_cpu or cpu, head_memory or memory, 0, head_runtime_identifier or runtime_identifier or ""
        )
        worker = node(cpu, memory, num_gpus, worker_runtime_identifier or runtime_identifier or "")
        place = self._place(head=coordinator, workers=workers_of(num_workers, worker))
        llm = place.deployment()
        # Without models nothing is built for an engine yet.
        spec = ClusterSpec(name=NAME, gateway_host="127.0.0.1", gateway_port=8000)
        address = urlsplit(llm.session.backend.ensure(spec, self._progress).gateway_url).netloc
        remember(address, place)
        apps = self._applications(llm)
        workers = [app.id for app in apps if group_of(app)]
        return {
            "status": "running",
            "head_app_id": head.id if (head := _head_of(apps)) else None,
            "head_address": address,
            "worker_app_ids": workers,
            "num_workers": len(workers),
            "configuration": {
                "head": {"cpu": head_cpu or cpu, "memory": head_memory or memory, "num_gpus": 0},
                "workers": {"cpu": cpu, "memory": memory, "num_gpus": num_gpus},
                "ray_port": ray_port,
                "dashboard_port": dashboard_port,
            },
        }

    def scale_cluster(self, num_workers: int) -> dict[str, Any]:
        """Set how many workers there are: those that are too many finish their requests first.

        The old tool had to stop the cluster for this.

        Raises:
            RayllmError: it can't be done, or there is no cluster.
        """
        deprecated("CAIClusterManager.scale_cluster", f'RayLLM(…).nodes.scale("{GROUP}", {num_workers})')
        self._place().deployment().session.backend.scale(NAME, GROUP, num_workers, self._progress)
        return self._status()

    def get_status(self) -> dict[str, Any]:
        """What the applications do; `running` is True once Ray answers on the head."""
        deprecated("CAIClusterManager.get_status", 'RayLLM.from_file("rayllm.yaml").status()')
        try:
            return self._status()
        except RayllmError as error:
            return {"running": False, "status": "error", "error": str(error)}

    def stop_cluster(self) -> Answer:
        """Stop and delete the cluster's applications; they are gone when this returns. May be awaited."""
        deprecated("CAIClusterManager.stop_cluster", 'RayLLM.from_file("rayllm.yaml").down()')
        llm = self._place().deployment()
        apps: list[Application] = []
        try:
            apps = self._applications(llm)
            llm.down(self._progress)
        except RayllmError as error:
            return Answer(stopped=False, stopped_apps=[], errors=[str(error)])
        return Answer(stopped=True, stopped_apps=[app.id for app in apps], errors=None)

    def _status(self) -> dict[str, Any]:
        llm = self._place().deployment()
        cluster = llm.session.find()
        if cluster is None:
            return {"running": False, "status": "not_started"}
        apps = self._applications(llm)
        head = _head_of(apps)
        address = urlsplit(cluster.gateway_url).netloc
        return {
            "running": cluster.state == "ready",
            "head": {"id": head.id, "status": head.status, "address": address} if head else None,
            "workers": [{"id": app.id, "status": app.status} for app in apps if group_of(app)],
            "total_nodes": len(apps),
        }

    @property
    def _progress(self) -> Progress:
        return report if self.verbose else silent

    @property
    def _workspace(self) -> Workspace:
        return Workspace.find(host=self.cml_host, key=self.cml_api_key, project=self.project_id)

    def _place(self, **options: Any) -> Place:
        key = {"host": self.cml_host, "key": f"${{env:{KEY}}}", "project": self.project_id}
        gpus = options.get("workers", {}).get(GROUP, {}).get("gpus")
        secrets = {KEY: self.cml_api_key}
        return Place(
            name=NAME,
            mode="connected",
            backend="cai",
            options=key | options,
            secrets=secrets,
            gpus_per_node=gpus,
            renew=partial(stored_place, self._workspace, self.project_id),
        )

    def _applications(self, llm: RayLLM) -> list[Application]:
        """Those of the cluster, in the order of their names."""
        with CaiClient(self._workspace) as client:
            return sorted(of_cluster(client.applications.all(self.project_id), llm.name), key=lambda app: app.name)


def _head_of(apps: list[Application]) -> Application | None:
    return next((app for app in apps if not group_of(app)), None)
