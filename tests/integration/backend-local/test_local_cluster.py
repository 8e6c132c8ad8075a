"""The backend `local` with real Ray: two commands at once, kill -9 of everything, and nothing left behind."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import command_of

from rayllm import ClusterError
from rayllm.cluster.serve_api import ServeApi

APP = """
import os
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class WhoAmI:
    def __call__(self, request):
        return os.getpid()

def build(args):
    return WhoAmI.bind()
"""


@pytest.fixture(scope="module")
def served(cluster: Any, until: Any) -> Any:
    """The cluster with an application on it, whose code came as a package."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        package.writestr("whoami_app/__init__.py", APP)
    application = {"name": "who", "route_prefix": "/whoami", "import_path": "whoami_app:build"}
    with ServeApi.of(cluster.find()) as api:
        api.put_package("whoami_1.zip", content.getvalue())
        api.put_config(
            {
                "proxy_location": "HeadOnly",
                "http_options": {"host": "127.0.0.1", "port": cluster.find().serve_port},
                "applications": [{**application, "runtime_env": {"py_modules": ["gcs://whoami_1.zip"]}}],
            }
        )
    until("the application", cluster.ask)
    return cluster


def test_nodes(cluster: Any) -> None:
    """Three nodes are alive, one is the head, each has its share of the cores."""
    with ServeApi.of(cluster.find()) as api:
        nodes = api.nodes()
    assert [node.state for node in nodes] == ["alive"] * 3
    assert sum(node.head for node in nodes) == 1
    assert [node.resources["CPU"] for node in nodes] == [2.0] * 3
    assert {node.address for node in nodes} == {"127.0.0.1"}


def test_only_the_token_opens_it(cluster: Any) -> None:
    """A stranger is refused, and no command line or log of ours holds the token."""
    found = cluster.find()
    assert found.token
    with ServeApi(found.dashboard_url) as stranger, pytest.raises(ClusterError, match="asks for a token"):
        stranger.details()
    for pid in cluster.pids():
        assert found.token not in command_of(pid)
    for log in (Path(os.environ["RAYLLM_HOME"]) / "clusters" / cluster.name / "logs").iterdir():
        assert found.token.encode() not in log.read_bytes()


def test_everything_listens_on_loopback(served: Any) -> None:
    """No process can be reached from another machine, but for a port that Serve's replicas guard with the token."""
    inodes = set()
    for pid in served.pids():
        if command_of(pid).startswith("ray::ServeReplica"):
            continue  # Serve binds its gRPC port between replicas to every address, and can't be told not to
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(entry.readlink()))
            except OSError:
                continue
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                listening.append(fields[1].partition(":")[0])
    assert len(listening) > 5
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_second_ensure_takes_it(cluster: Any) -> None:
    """A cluster that runs is taken as it is."""
    before = cluster.state
    assert not cluster.ensure().created
    assert cluster.state == before


@pytest.mark.parametrize("victim", ["raylet/raylet", "gcs/gcs_server", "ray_start.py", "reaper.py"])
def test_head_is_started_again(served: Any, victim: str, until: Any) -> None:
    """After kill -9 of any part of the head the service starts it again, and the application comes back by itself."""
    before = served.ask()
    os.kill(served.pid(victim, "--head" if victim.endswith(".py") else ""), signal.SIGKILL)
    until("the fault is seen", lambda: served.find().state == "starting")
    assert served.find().reason
    until("the head is back", lambda: served.find().state == "ready")
    after = until("the application is back", served.ask)
    assert after != before


def test_worker_is_started_again(cluster: Any, until: Any) -> None:
    """Kill -9 of a worker's raylet: the worker comes back as a new node, the head stays."""
    until("three nodes", lambda: len(cluster.alive()) == 3)
    before, head = set(cluster.alive()), cluster.pid("ray_start.py", "--head")
    worker = cluster.pid("ray_start.py", "--address")
    os.kill(worker, signal.SIGKILL)
    until("a new node", lambda: set(cluster.alive()) - before)
    assert cluster.pid("ray_start.py", "--head") == head
    assert cluster.find().state == "ready"


def test_killed_supervisor(cluster: Any, until: Any) -> None:
    """Kill -9 of the service ends every process of it; find tells so, and ensure starts a new one."""
    pids = cluster.pids()
    os.kill(int(cluster.state.supervisor.partition("/")[0]), signal.SIGKILL)
    until("everything gone", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids))
    found = cluster.find()
    assert (found.state, "killed" in found.reason) == ("failed", True)
    temp_dir = Path(cluster.state.temp_dir)
    assert cluster.ensure().created
    assert not temp_dir.exists()
    until("three nodes", lambda: len(cluster.alive()) == 3)


def test_two_at_once_beside_another_ray(home: Path, make: Any, other_ray: subprocess.Popen[bytes]) -> None:
    """Two commands at once make one cluster; another Ray goes on while it starts, runs and is destroyed."""
    local = make("twin")
    with ThreadPoolExecutor(max_workers=2) as pool:
        first, second = [pool.submit(local.ensure) for _ in range(2)]
        clusters = [first.result(), second.result()]
    assert sorted(cluster.created for cluster in clusters) == [False, True]
    assert len({cluster.dashboard_url for cluster in clusters}) == 1
    assert any("waiting for another command" in said for said in local.said)
    pids, temp_dir = local.pids(), Path(local.state.temp_dir)
    local.destroy()
    local.destroy()
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in pids)
    assert not temp_dir.exists()
    assert [entry.name for entry in (home / "clusters" / "twin").iterdir()] == ["logs"]
    assert local.backend.find("twin") is None
    assert other_ray.poll() is None


def test_command_is_interrupted(home: Path, make: Any, until: Any) -> None:
    """A command that is killed while it waits leaves a start that the next one picks up."""
    local = make("cut")
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from conftest import Local; "
    code += f"Local('cut', nodes=1, port={local.port}).ensure()"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as command:
        until("the service", lambda: (home / "clusters" / "cut" / "state.json").exists() and local.state.supervisor)
        assert local.find().state == "starting"
        os.killpg(command.pid, signal.SIGKILL)
    service = local.state.supervisor
    assert not local.ensure().created
    assert local.state.supervisor == service


def test_gateway_port_is_taken(make: Any) -> None:
    """Nothing is started for a gateway whose port another program has; the error names it."""
    local = make("blocked")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", local.port))
        squatter.listen()
        with pytest.raises(ClusterError, match=rf"port {local.port} .*pid {os.getpid()}"):
            local.ensure()
    assert local.backend.find("blocked") is None


def test_ray_does_not_start(home: Path, make: Any) -> None:
    """Ray's own words are the cause when its head does not come up, and nothing of it is left."""
    local = make("broken")
    storage = home / "clusters" / "broken" / "gcs"
    storage.parent.mkdir(parents=True)
    storage.write_text("a file where Ray wants a folder")
    with pytest.raises(ClusterError, match="did not start") as caught:
        local.ensure()
    assert caught.value.cause
    assert "ended with status" in caught.value.cause
    assert local.find().state == "failed"
    assert local.pids() == []
