"""A local cluster with two simulated workers, and another Ray beside it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests import conftest
from tests.conftest import command_of, free_port

from rayllm import Cluster, ClusterSpec
from rayllm.cluster.serve_api import ServeApi
from rayllm.serving.processes.reaper import descendants
from rayllm.serving.processes.supervised import marked
from rayllm.testing.local_cluster import local_cluster  # noqa: F401
from rayllm_backend_local.backend import LocalBackend
from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.state import Folder, State

BOUND_S = 180.0


def until(what: str, true: Callable[[], Any]) -> Any:
    """Wait for a condition, within a bound; returns what it answered."""
    return conftest.until(what, true, BOUND_S)


@dataclass
class Local:
    """One cluster and what a test wants to know about it."""

    name: str
    nodes: int
    port: int = field(default_factory=free_port)
    said: list[str] = field(default_factory=list)

    @property
    def backend(self) -> LocalBackend:
        """The backend, opened anew as by each command."""
        return LocalBackend(LocalOptions(nodes=self.nodes, cpus=2 * self.nodes))

    @property
    def state(self) -> State:
        """What its state file tells."""
        state = Folder(self.name).state()
        assert state
        return state

    def progress(self, step: str, detail: str, *, done: bool = False) -> None:  # noqa: ARG002
        """Keep what a person would see."""
        self.said.append(detail)

    def ensure(self) -> Cluster:
        """Start it or take it."""
        return self.backend.ensure(
            ClusterSpec(name=self.name, gateway_host="127.0.0.1", gateway_port=self.port), self.progress
        )

    def find(self) -> Cluster:
        """What is there."""
        found = self.backend.find(self.name)
        assert found
        return found

    def destroy(self) -> None:
        """Remove it."""
        self.backend.destroy(self.name, self.progress)

    def alive(self) -> list[str]:
        """Identifiers of the nodes that are alive."""
        with ServeApi.of(self.find()) as api:
            return [node.id for node in api.nodes() if node.state == "alive"]

    def pids(self) -> list[int]:
        """Its processes, Ray's agents without a marker too."""
        supervisor = int(self.state.supervisor.partition("/")[0])
        return sorted({*marked(Folder(self.name).marker(self.state)), *descendants(supervisor)})

    def pid(self, *words: str) -> int:
        """The process whose command line has these words."""
        for pid in self.pids():
            if all(word in command_of(pid) for word in words):
                return pid
        raise AssertionError(words)

    def ask(self) -> int | None:
        """The process that answers for the application, None if there is none."""
        connection = HTTPConnection("127.0.0.1", self.state.serve_port, timeout=5)
        try:
            connection.request("GET", "/whoami")
            answer = connection.getresponse()
            return int(json.load(answer)) if answer.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()


@pytest.fixture(scope="module", name="until")
def waiting() -> Callable[[str, Callable[[], Any]], Any]:
    """Wait for a condition, within a bound."""
    return until


@pytest.fixture
def make(home: Path) -> Iterator[Callable[[str], Local]]:
    """Names a cluster of one node that is destroyed behind the test."""
    made: list[Local] = []

    def named(name: str) -> Local:
        made.append(Local(name, nodes=1))
        return made[-1]

    yield named
    for local in made:
        local.destroy()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """RayLLM's home for this module, with a short path."""
    with tempfile.TemporaryDirectory(prefix="rl-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYLLM_HOME", folder)
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Local]:
    """A cluster of three nodes; everything of it is gone in the end."""
    local = Local("big", nodes=3)
    read, write = os.pipe()
    os.set_inheritable(write, True)  # as a shell hands on what it opened for a lock
    try:
        local.ensure()
        os.close(write)
        assert select.select([read], [], [], 10)[0], "a process of the cluster holds what its caller had open"
        os.close(read)
        yield local
    finally:
        local.destroy()


@pytest.fixture(scope="module")
def other_ray() -> Iterator[subprocess.Popen[bytes]]:
    """The process of another Ray's GCS, started by hand in this machine's other corner."""
    folder = Path(tempfile.mkdtemp(prefix="o-"))
    code = "from ray.scripts.scripts import main; main()"
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    flags = [f"--port={free_port()}", f"--temp-dir={folder}", "--include-dashboard=false", "--num-cpus=1"]
    flags += ["--no-monitor", f"--ray-client-server-port={free_port()}", "--dashboard-agent-listen-port=0"]
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(
            [sys.executable, "-c", code, "start", "--head", "--block", *flags], env=env, stdout=log, stderr=log
        )
    try:
        until("the other Ray", lambda: b"Ray runtime started" in (folder / "log").read_bytes())
        yield head
    finally:
        family = [head.pid, *descendants(head.pid)]
        for pid in family:
            subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)
