"""A cluster of applications on a stand-in workspace, with a real Ray in their processes."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

import psutil
import pytest
from tests.cai import Cai
from tests.cai_cluster import Operators, operators
from tests.cai_nodes import Nodes, argv_of
from tests.conftest import until

from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.testing import FakeCai

APP = """
import os
import ray
from ray import serve

@serve.deployment
class WhoAmI:
    def __call__(self, request):
        return {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id(), "env": sorted(os.environ)}

def build(args):
    return WhoAmI.options(ray_actor_options=args).bind()
"""
BOUND_S = 120.0


@dataclass
class Served(Nodes):
    """A cluster with Serve applications: `any` somewhere, `pinned` on a worker, which alone have GPUs."""

    def ray(self) -> ServeApi:
        """The head's dashboard."""
        port = next(
            int(word.partition("=")[2])
            for process in self.cai.fake.pod(self.head).processes()
            for word in argv_of(process)
            if word.startswith("--dashboard-port=")
        )
        return ServeApi(f"http://127.0.0.1:{port}", (self.folder / "token").read_text())

    def alive(self) -> dict[str, str]:
        """Ids of the nodes that Ray lists as alive, by name."""
        with self.ray() as api:
            rows = api._get("/api/v0/nodes", params={"detail": "1", "limit": "1000"})["data"]["result"]["result"]
        return {row["node_name"]: row["node_id"] for row in rows if row["state"] == "ALIVE"}

    def deploy(self) -> None:
        """Put the applications there, and wait until they answer."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as package:
            package.writestr("whoami_app/__init__.py", APP)
        env = {"py_modules": ["gcs://whoami_1.zip"]}
        one = {"import_path": "whoami_app:build", "runtime_env": env}
        at = self.at()
        assert at
        with self.ray() as api:
            api.put_package("whoami_1.zip", content.getvalue())
            api.put_config(
                {
                    "proxy_location": "HeadOnly",
                    "http_options": {"host": "127.0.0.1", "port": at.serve_port},
                    "applications": [
                        {**one, "name": "any", "route_prefix": "/any", "args": {"num_cpus": 0}},
                        {**one, "name": "pinned", "route_prefix": "/pinned", "args": {"num_cpus": 0, "num_gpus": 1}},
                    ],
                }
            )
        for name in ("any", "pinned"):
            until(f"{name} answers", lambda name=name: self.ask(name), BOUND_S)  # type: ignore[misc]

    def ask(self, name: str) -> dict[str, object] | None:
        """Who answers for an application; None if nobody does."""
        at = self.at()
        assert at
        connection = HTTPConnection("127.0.0.1", at.serve_port, timeout=5)
        try:
            connection.request("GET", f"/{name}")
            answer = connection.getresponse()
            return dict(json.load(answer)) if answer.status == 200 else None
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def process(self, node: str, *words: str) -> psutil.Process:
        """The process of a node's pod whose command line has these words."""
        for process in self.cai.fake.pod(node).processes():
            line = " ".join(argv_of(process))
            if all(word in line for word in words):
                return process
        raise AssertionError(words)


@pytest.fixture
def ops() -> Iterator[Operators]:
    """A workspace of each test's own, whose nodes are stubs."""
    with operators() as there:
        yield there


@pytest.fixture
def client(ops: Operators) -> Iterator[CaiClient]:
    """Another person's, beside the operator's."""
    with CaiClient(ops.fake.workspace) as opened:
        yield opened


@pytest.fixture(scope="module")
def cai() -> Iterator[Cai]:
    """A workspace with a project whose variables hold a password; the pods' own folders are gone in the end."""
    with FakeCai() as fake, CaiClient(fake.workspace) as client:
        fake.settings.environment = {"CML_USER_PW": "a-password"}
        yield Cai(fake, client, fake.add_project("llm", {}), [])
        engines = [one.pod.engine for one in fake.workloads()]
    for engine in engines:  # of what was killed
        shutil.rmtree(f"/tmp/rl-{engine}", ignore_errors=True)  # noqa: S108


@pytest.fixture(scope="module")
def cluster(cai: Cai) -> Served:
    """A head and two workers with a GPU each, in which two applications serve."""
    planned = Nodes.plan(cai, "demo", 2, gpus=1, accelerator="X1")
    nodes = Served(cai, planned.wanted)
    names = nodes.head, nodes.worker(1), nodes.worker(2)
    nodes.start(*names)
    nodes.await_ready(*names)
    nodes.deploy()
    return nodes
