"""Workers on a stand-in workspace with a real Ray: they follow demand, who dies is replaced, who goes is drained."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, TypeVar

import pytest
from tests.cai import Cai
from tests.cai_nodes import CODE, SERVING, argv_of, plant
from tests.conftest import until

from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.applications import head_application
from rayllm_backend_cai.shared import Group, HeadRecord, KeeperRecord, NodeRecord, Shape, Wanted
from rayllm_backend_cai.testing import FakeCai

APP = """
import asyncio, ray
from ray import serve

@serve.deployment(graceful_shutdown_timeout_s=60, max_ongoing_requests=10)
class Slow:
    async def __call__(self, request):
        await asyncio.sleep(float(request.query_params.get("seconds", 0)))
        return ray.get_runtime_context().get_node_id()

def build(args):
    return Slow.options(**args).bind()
"""
BOUND_S = 180.0
Found = TypeVar("Found")
IDLE_S = 6.0


@dataclass
class Cluster:
    """A head that keeps two workers with GPUs `X1`, and none to one with a GPU `Y1`."""

    cai: Cai
    wanted: Wanted
    seconds: dict[str, float] = field(default_factory=dict)
    """What was measured."""
    served: int = 0
    """How often something else was served."""

    @classmethod
    def started(cls, cai: Cai) -> Cluster:
        """The head alone is made, as after an operator that was killed."""
        told: dict[str, Any] = {"memory": 4, "runtime": cai.fake.image}
        wanted = Wanted(
            name="kept",
            subdomain="kept",
            code=CODE,
            serving=SERVING,
            head=Shape(cpus=1, **told),
            groups={
                "fixed": Group(min=2, max=2, cpus=1, gpus=2, accelerator="X1", **told),
                "range": Group(min=0, max=1, cpus=1, gpus=1, accelerator="Y1", **told),
            },
            idle_minutes=IDLE_S / 60,
        )
        cluster = cls(cai, wanted)
        plant(cai.fake.folder(cai.project))
        cluster.want(wanted)
        cai.client.applications.create(cai.project, head_application(wanted))
        return cluster

    def want(self, wanted: Wanted) -> None:
        """Write what is wanted, as the operator does."""
        self.wanted = wanted
        wanted.write(self.cai.fake.folder(self.cai.project) / shared.cluster_folder("kept") / "wanted.json")

    def read(self, kind: Any, name: str) -> Any:
        """A record of the cluster's folder."""
        return kind.read(self.cai.fake.folder(self.cai.project) / shared.cluster_folder("kept") / name)

    @property
    def told(self) -> list[str]:
        """Events, as text."""
        record = self.read(KeeperRecord, "keeper.json")
        return [f"{one.node} {one.text}" for one in record.events] if record else []

    def names(self) -> set[str]:
        """Applications that the platform lists."""
        return set(self.ids())

    def is_ready(self, name: str) -> bool:
        """Whether a node's newest pod is in the cluster."""
        told: NodeRecord | None = self.read(NodeRecord, f"nodes/{name}.json")
        return bool(told and told.state == "ready" and self.cai.fake.workloads(name) and self._is_new(name, told))

    def until(self, what: str, look: Callable[[], Found]) -> Found:
        """Wait until there is something to see; what nodes and keeper have to say is in the failure."""
        try:
            return until(what, look, BOUND_S)
        except AssertionError as late:
            pods = {one.name: one.pod for one in self.cai.fake.workloads()}
            words = [f"--- {name}\n{self.cai.fake.log(name)[-3000:]}" for name in pods]
            raise AssertionError("\n".join([str(late), *self.told, *words])) from None

    def await_ready(self, *names: str) -> None:
        """Wait until they are."""
        for name in names:
            self.until(f"{name} is ready", lambda name=name: self.is_ready(name))  # type: ignore[misc]

    def made(self, count: int, what: str) -> None:
        """Wait for the next call that makes an application, and note how long it took."""
        start = time.monotonic()
        self.until(what, lambda: self.creates() > count)
        self.seconds[what] = time.monotonic() - start

    def ids(self) -> dict[str, str]:
        """Applications that the platform lists."""
        return {one.name: one.id for one in self.cai.client.applications.all(self.cai.project)}

    def lists(self) -> int:
        """How often the keeper has listed applications; the test itself does not while it counts."""
        return len([one for one in self.cai.fake.calls if one.method == "GET" and one.path.endswith("/applications")])

    def creates(self) -> int:
        """How many applications were asked for."""
        return len([one for one in self.cai.fake.calls if one.method == "POST" and one.path.endswith("/applications")])

    def serve(self, **applications: dict[str, Any]) -> None:
        """Have Serve run these applications, by their deployments' options."""
        at: HeadRecord = self.read(HeadRecord, "head.json")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as package:
            package.writestr("slow_app/__init__.py", APP)
        self.served += 1  # Ray removes a package with the last that used it, though it is asked for again just then
        name = f"slow_{self.served}.zip"
        one = {"import_path": "slow_app:build", "runtime_env": {"py_modules": [f"gcs://{name}"]}}
        with ServeApi(f"http://127.0.0.1:{self._dashboard()}", self.token) as api:
            api.put_package(name, content.getvalue())
            api.put_config(
                {
                    "proxy_location": "HeadOnly",
                    "http_options": {"host": "127.0.0.1", "port": at.serve_port},
                    "applications": [
                        {**one, "name": app, "route_prefix": f"/{app}", "args": args}
                        for app, args in applications.items()
                    ],
                }
            )

    def ask(self, name: str, seconds: float = 0) -> str:
        """Which node answers for an application, after so many seconds; empty if none does."""
        at: HeadRecord = self.read(HeadRecord, "head.json")
        connection = HTTPConnection("127.0.0.1", at.serve_port, timeout=60)
        try:
            connection.request("GET", f"/{name}?seconds={seconds}")
            answer = connection.getresponse()
            return answer.read().decode() if answer.status == 200 else ""
        except (OSError, HTTPException):
            return ""
        finally:
            connection.close()

    def alive(self) -> dict[str, str]:
        """Names of the nodes that Ray lists as alive, by their ids."""
        with ServeApi(f"http://127.0.0.1:{self._dashboard()}", self.token) as api:
            rows = api._get("/api/v0/nodes", params={"detail": "1", "limit": "1000"})["data"]["result"]["result"]
        return {row["node_id"]: row["node_name"] for row in rows if row["state"] == "ALIVE"}

    @property
    def token(self) -> str:
        """Ray's."""
        return (self.cai.fake.folder(self.cai.project) / shared.cluster_folder("kept") / "token").read_text()

    def _is_new(self, name: str, told: NodeRecord) -> bool:
        return told.engine == self.cai.fake.pod(name).engine

    def _dashboard(self) -> int:
        for process in self.cai.fake.pod("kept").processes():
            for word in argv_of(process):
                if word.startswith("--dashboard-port="):
                    return int(word.partition("=")[2])
        raise AssertionError("the head runs no Ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Whose workers the head has made by itself."""
    with FakeCai() as fake, CaiClient(fake.workspace) as client:
        cluster = Cluster.started(Cai(fake, client, fake.add_project("llm", {}), []))
        cluster.await_ready("kept", "kept-fixed-1", "kept-fixed-2")
        yield cluster
        print(json.dumps(cluster.seconds))  # noqa: T201


def needs(kind: str, **more: Any) -> dict[str, Any]:
    """Options of a deployment that runs on GPUs of a kind."""
    actor = {"num_cpus": 0, "num_gpus": 1, "resources": {f"accelerator_type:{kind}": 0.001}}
    return {"ray_actor_options": actor, **more}


def test_a_range_goes_from_none_to_one_and_back(cluster: Cluster) -> None:
    """By a replica that waits for a GPU which no node has, and by its end."""
    assert cluster.names() == {"kept", "kept-fixed-1", "kept-fixed-2"}
    count = cluster.creates()
    cluster.serve(one=needs("Y1"))
    cluster.made(count, "from a waiting replica to the call that makes a worker")
    answered = cluster.until("it serves", lambda: cluster.ask("one"))
    assert cluster.alive()[answered] == "kept-range-1"
    cluster.serve()
    cluster.until("it is gone", lambda: cluster.names() == {"kept", "kept-fixed-1", "kept-fixed-2"})
    assert "kept-range-1 goes: has no work" in cluster.told
    assert cluster.creates() == count + 1


def test_a_worker_whose_memory_ran_out_is_explained_and_replaced(cluster: Cluster) -> None:
    """Under a name that is free."""
    count = cluster.creates()
    cluster.cai.fake.pod("kept-fixed-1").kill(oom=True)
    cluster.made(count, "from a pod's death to the call that makes another")
    cluster.until("it is gone", lambda: "kept-fixed-1 is gone" in cluster.told)
    assert "kept-fixed-1 goes: failed: out of memory: it took more than its 4 GB" in cluster.told
    cluster.await_ready("kept-fixed-3")
    assert cluster.names() == {"kept", "kept-fixed-2", "kept-fixed-3"}
    # until then it places replicas on it, and where these go afterwards is its own affair
    cluster.until("Ray has noticed", lambda: "kept-fixed-1" not in cluster.alive().values())


def test_scaling_down_lets_a_request_finish(cluster: Cluster) -> None:
    """The replica is moved first, its node is stopped when its last request has its answer."""
    cluster.serve(two=needs("X1", num_replicas=2))
    cluster.until("both replicas serve", lambda: len({cluster.ask("two") for _ in range(20)} - {""}) == 2)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cluster.ask, "two", 15) for _ in range(8)]
        time.sleep(1)
        fixed = cluster.wanted.groups["fixed"].model_copy(update={"min": 1, "max": 1})
        cluster.want(cluster.wanted.model_copy(update={"groups": {**cluster.wanted.groups, "fixed": fixed}}))
        before = cluster.alive()
        answers = [one.result() for one in asked]
    assert {before.get(one) for one in answers} == {"kept-fixed-2", "kept-fixed-3"}
    cluster.until("it is gone", lambda: cluster.names() == {"kept", "kept-fixed-2"})
    assert "kept-fixed-3 goes: 1 of fixed are wanted" in cluster.told
    assert {cluster.alive()[cluster.ask("two")] for _ in range(10)} == {"kept-fixed-2"}


def test_a_head_that_starts_anew_keeps_every_worker(cluster: Cluster) -> None:
    """To its Ray every node of the last life is dead, at another address; none is made or removed for that."""
    cluster.serve(one=needs("Y1"))
    cluster.until("it serves", lambda: cluster.ask("one"))
    # until its replica is back the range's worker is idle, which on a busy machine may take longer than it may be
    cluster.want(cluster.wanted.model_copy(update={"idle_minutes": 5}))
    before, count, epoch = cluster.ids(), cluster.creates(), cluster.read(HeadRecord, "head.json").epoch
    cluster.cai.client.applications.restart(cluster.cai.project, before["kept"])
    cluster.until("it is another head", lambda: cluster.read(HeadRecord, "head.json").epoch != epoch)
    lists = cluster.lists()
    cluster.until("it serves again", lambda: cluster.ask("one"))
    cluster.until("the keeper has looked twice", lambda: cluster.lists() > lists + 1)
    assert cluster.ids() == before
    assert cluster.creates() == count
