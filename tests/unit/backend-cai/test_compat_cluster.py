"""`CAIClusterManager` of the earlier tool, with a backend that makes applications and no Ray."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cai import WAIT, Cai

from ray_serve_cai import CAIClusterManager
from ray_serve_cai.places import place_of, stored_place
from rayllm import (
    Backend,
    Cluster,
    ClusterBackend,
    ClusterError,
    ClusterSpec,
    Command,
    Engine,
    Environment,
    InputError,
    Options,
    Progress,
)
from rayllm.plugins import Plugins
from rayllm_backend_cai import refuse_cai
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.applications import group_of, head_application, of_cluster, worker_application
from rayllm_backend_cai.options import CaiOptions, NodeOptions, WorkerOptions
from rayllm_backend_cai.shared import Group, Shape, Wanted, cluster_folder
from rayllm_backend_cai.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore:ray_serve_cai:DeprecationWarning")
DISABLED = "backend-cai,backend-local,engine-vllm,engine-sglang"


class Applications(ClusterBackend):
    """Makes the applications of a cluster; nothing runs in them."""

    image = ""
    fails = ""
    """What goes wrong with the next cluster."""

    def __init__(self, options: CaiOptions) -> None:
        self.options = options
        self.workspace = Workspace.find(host=options.host, key=options.key, project=options.project)
        self.project = options.project

    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """Make what is not there."""
        progress("head", "starting")
        if self.fails:
            raise ClusterError(self.fails, cure="ask for less")
        wanted = self.wanted(spec.name)
        wanted.write(self.disk / cluster_folder(spec.name) / "wanted.json")
        with CaiClient(self.workspace) as client:
            client.applications.create(self.project, head_application(wanted))
            for number in range(1, wanted.groups["workers"].max + 1):
                client.applications.create(self.project, worker_application(wanted, "workers", number))
        found = self.find(spec.name)
        assert found
        return found

    def find(self, name: str) -> Cluster | None:
        """Where the endpoint would be, if there is a head."""
        with CaiClient(self.workspace) as client:
            apps = of_cluster(client.applications.all(self.project), name)
        url = self.workspace.application_url(name)
        return Cluster(name=name, dashboard_url=f"{url}/rayllm/ray", gateway_url=url) if apps else None

    def scale(self, name: str, group: str, count: int, progress: Progress) -> None:
        """Delete those that are too many."""
        progress("nodes", f"{group}: {count}")
        path = self.disk / cluster_folder(name) / "wanted.json"
        wanted = Wanted.read(path)
        assert wanted
        fixed = wanted.groups[group].model_copy(update={"min": count, "max": count})
        wanted.model_copy(update={"groups": {group: fixed}}).write(path)
        with CaiClient(self.workspace) as client:
            apps = [app for app in of_cluster(client.applications.all(self.project), name) if group_of(app) == group]
            for app in sorted(apps, key=lambda app: app.name)[count:]:
                client.applications.delete(self.project, app.id)

    def destroy(self, name: str, progress: Progress) -> None:
        """Delete them all."""
        progress("cluster", "deleting")
        with CaiClient(self.workspace) as client:
            for app in of_cluster(client.applications.all(self.project), name):
                client.applications.delete(self.project, app.id)

    disk: Any = None

    def wanted(self, name: str) -> Wanted:
        """As the options have it."""
        return Wanted(
            name=name,
            subdomain=name,
            code="c",
            serving="s",
            head=self.shape(self.options.head),
            groups={key: self.group(one) for key, one in self.options.workers.items()},
        )

    def shape(self, node: NodeOptions) -> Shape:
        """One node."""
        return Shape(cpus=node.cpus, memory=node.memory / (1 << 30), gpus=node.gpus, runtime=node.runtime or self.image)

    def group(self, workers: WorkerOptions) -> Group:
        """A fixed number of nodes."""
        assert isinstance(workers.count, int)
        return Group(**self.shape(workers).model_dump(), min=workers.count, max=workers.count)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, cai: Cai) -> Iterator[None]:
    """The backend `cai` makes applications and nothing else; any engine will do."""
    found = Plugins.discover(disabled=DISABLED)
    found.backends["cai"] = Backend(
        name="cai",
        summary="",
        options=CaiOptions,
        open=Applications,
        capabilities={"create", "nodes"},
        refuse=refuse_cai,
    )
    found.engines["toy"] = Engine(
        name="toy", summary="", options=Options, environment=Environment(()), commands=lambda _: [Command()]
    )
    monkeypatch.setattr(Plugins, "discover", lambda: found)
    monkeypatch.setattr(Applications, "image", cai.fake.image)
    monkeypatch.setattr(Applications, "disk", cai.fake.folder(cai.project))
    monkeypatch.setattr(Applications, "fails", "")
    for name in ("CML_HOST", "CML_API_KEY", "CML_PROJECT", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    script = cai.fake.folder(cai.project) / ".rayllm/run-c.py"
    script.parent.mkdir()
    script.write_text(WAIT)
    yield
    monkeypatch.setattr("ray_serve_cai.places._known", {})


@pytest.fixture
def manager(cai: Cai) -> CAIClusterManager:
    """Of the workspace's one project."""
    return CAIClusterManager(cml_host=cai.fake.url, cml_api_key=cai.fake.key, project_id=cai.project, verbose=False)


def names(cai: Cai) -> list[str]:
    """The project's applications."""
    return sorted(app.name for app in cai.client.applications.all(cai.project))


def start(manager: CAIClusterManager, **more: Any) -> dict[str, Any]:
    """A small cluster: what the pages' example asks for, in little."""
    return manager.start_cluster(num_workers=2, cpu=2, memory=3, num_gpus=0, head_cpu=1, head_memory=2, **more)


def test_start_tells_what_it_told(manager: CAIClusterManager, cai: Cai) -> None:
    """The same keys; the ids are those of applications that are there."""
    info = start(manager)
    ids = {app.name: app.id for app in cai.client.applications.all(cai.project)}
    assert info == {
        "status": "running",
        "head_app_id": ids["ray-cluster"],
        "head_address": f"ray-cluster.{cai.fake.workspace.domain}",
        "worker_app_ids": [ids["ray-cluster-workers-1"], ids["ray-cluster-workers-2"]],
        "num_workers": 2,
        "configuration": {
            "head": {"cpu": 1, "memory": 2, "num_gpus": 0},
            "workers": {"cpu": 2, "memory": 3, "num_gpus": 0},
            "ray_port": 6379,
            "dashboard_port": 8265,
        },
    }
    head = cai.client.applications.get(cai.project, ids["ray-cluster"])
    worker = cai.client.applications.get(cai.project, ids["ray-cluster-workers-1"])
    assert [(app.cpu, app.memory) for app in (head, worker)] == [(1, 2), (2, 3)]


def test_status_is_found_again(manager: CAIClusterManager, cai: Cai) -> None:
    """By another process, whose manager knows of no start."""
    assert manager.get_status() == {"running": False, "status": "not_started"}
    info = start(manager)
    other = CAIClusterManager(cai.fake.url, cai.fake.key, cai.project)
    status = other.get_status()
    assert status["running"]
    assert status["head"]["id"] == info["head_app_id"]
    assert status["head"]["address"] == info["head_address"]
    assert [worker["id"] for worker in status["workers"]] == info["worker_app_ids"]
    assert status["total_nodes"] == 3


def test_scale(manager: CAIClusterManager, cai: Cai) -> None:
    """Also by a manager that made nothing."""
    start(manager)
    status = CAIClusterManager(cai.fake.url, cai.fake.key, cai.project).scale_cluster(num_workers=1)
    assert status["total_nodes"] == 2
    assert names(cai) == ["ray-cluster", "ray-cluster-workers-1"]


def test_stop_deletes(manager: CAIClusterManager, cai: Cai) -> None:
    """Where the old tool forgot its ids and left everything running."""
    info = start(manager)
    stopped = manager.stop_cluster()
    assert stopped == {
        "stopped": True,
        "stopped_apps": [info["head_app_id"], *info["worker_app_ids"]],
        "errors": None,
    }
    assert names(cai) == []


def test_stop_may_be_awaited(manager: CAIClusterManager) -> None:
    """The old tool's pages do, in both ways; its code returned a dictionary."""

    async def stop() -> dict[str, Any]:
        return await manager.stop_cluster()

    assert asyncio.run(stop())["stopped"] is True
    documented: Any = manager.stop_cluster()
    assert asyncio.run(documented)["stopped"] is True


def test_what_goes_wrong_is_told(manager: CAIClusterManager, cai: Cai, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start_cluster` raises, the others answer with `error`, as they did. No key is in it."""
    monkeypatch.setattr(Applications, "fails", "out of quota")
    with pytest.raises(ClusterError, match="out of quota"):
        start(manager)
    wrong = CAIClusterManager(cai.fake.url, "x" * 64 + "." + "y" * 64, cai.project)
    status, stopped = wrong.get_status(), wrong.stop_cluster()
    assert (status["running"], status["status"], stopped["stopped"]) == (False, "error", False)
    assert "x" * 64 not in status["error"] + str(stopped)


def test_the_warning_names_the_new_call_and_what_is_lost(manager: CAIClusterManager) -> None:
    """At the line of the caller."""
    with pytest.warns(DeprecationWarning, match="start_cluster goes with RayLLM 0.3; now: RayLLM") as caught:
        start(manager, ray_port=7000, head_script_path="/home/cdsw/head.py", wait_ready=False, dashboard_port=8265)
    (warning,) = caught
    text = str(warning.message)
    assert warning.filename == __file__
    assert "  ray_port: RayLLM chooses" in text
    assert "  head_script_path: " in text
    assert "  wait_ready: " in text
    assert "dashboard_port" not in text


def test_every_call_warns_once(manager: CAIClusterManager) -> None:
    """None is silent, none warns of what it calls itself."""
    start(manager)
    calls: list[Callable[[], dict[str, Any]]] = [
        lambda: manager.scale_cluster(1),
        manager.get_status,
        manager.stop_cluster,
    ]
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        assert [one.category for one in caught] == [DeprecationWarning]


def test_the_models_side_finds_the_cluster(manager: CAIClusterManager) -> None:
    """By the address that `start_cluster` gave, in the ways that programs wrote it."""
    address = start(manager)["head_address"]
    place = place_of(f"ray://{address}")
    assert (place.backend, place.name) == ("cai", "ray-cluster")
    assert place_of(address).options["workers"]["workers"]["count"] == 2
    manager.scale_cluster(1)
    assert place_of(address).options["workers"]["workers"]["count"] == 1
    assert place.now().options["workers"]["workers"]["count"] == 1


def test_a_cluster_that_is_open_without_the_log_in(
    manager: CAIClusterManager, cai: Cai, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its endpoint goes on asking for keys: for those of this environment, where there are any."""
    start(manager)
    path = cai.fake.folder(cai.project) / cluster_folder("ray-cluster") / "wanted.json"
    wanted = Wanted.read(path)
    assert wanted
    wanted.model_copy(update={"bypass_authentication": True}).write(path)
    place = stored_place(cai.fake.workspace, cai.project)
    assert place
    monkeypatch.delenv("RAYLLM_API_KEYS", raising=False)
    assert place.deployment().config.gateway.keys == "required"
    monkeypatch.setenv("RAYLLM_API_KEYS", "a-key-of-the-test-of-this")
    assert place.deployment().session.checked.keys == {"default": "a-key-of-the-test-of-this"}


def test_another_process_finds_it_by_the_workspace(
    manager: CAIClusterManager, cai: Cai, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options that it was made with, so that nothing of it is changed."""
    address = start(manager)["head_address"]
    monkeypatch.setattr("ray_serve_cai.places._known", {})
    monkeypatch.setenv("CML_HOST", cai.fake.url)
    monkeypatch.setenv("CML_API_KEY", cai.fake.key)
    with pytest.raises(InputError, match="some project") as caught:
        place_of(address)
    assert "CML_PROJECT" in str(caught.value.cure)
    monkeypatch.setenv("CML_PROJECT", cai.project)
    place = place_of(f"https://{address}")
    options = CaiOptions.model_validate(place.options)
    assert (options.head.cpus, options.workers["workers"].memory) == (1, 3 << 30)
    assert options.workers["workers"].count == 2
    assert cai.fake.key not in repr(place) + str(place.options)
    with pytest.raises(ClusterError, match="no cluster other"):
        place_of(f"other.{cai.fake.workspace.domain}")


def test_without_any_engine(manager: CAIClusterManager) -> None:
    """What a cluster without models needs of one is no setting of the caller's."""
    Plugins.discover().engines.clear()
    with pytest.raises(InputError, match="no engine is installed") as caught:
        manager.start_cluster(num_workers=1)
    assert caught.value.cure == "pip install rayllm-engine-vllm"
