"""A node with a network of its own: its replica is reached through its guard, and by nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import Rayllm, command_of, free_port, marked, until

HEAD, FAR = "10.211.77.1", "10.211.77.2"
SPACE, HERE, THERE = (f"rl{end}{os.getpid()}" for end in ("far", "h", "t"))
TOKEN = "token-of-two-nodes"
RAY_S = 60.0
GUARD = r"^\S*haproxy -db -f guard\.cfg"


def ip(*words: str) -> bool:
    """Whether `ip` did it."""
    try:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="module")
def space() -> Iterator[None]:
    """A network namespace with a cable to this one."""
    if not ip("netns", "add", SPACE):
        pytest.skip("no network namespace can be made here: that takes root and iproute2")
    try:
        made = ip("link", "add", HERE, "type", "veth", "peer", "name", THERE, "netns", SPACE)
        made = made and ip("address", "add", f"{HEAD}/24", "dev", HERE) and ip("link", "set", HERE, "up")
        for words in (("address", "add", f"{FAR}/24", "dev", THERE), ("link", "set", THERE, "up")):
            made = made and ip("-n", SPACE, *words)
        if not (made and ip("-n", SPACE, "link", "set", "lo", "up")):
            pytest.skip("no virtual cable can be laid here")
        yield
    finally:
        ip("link", "delete", HERE)
        ip("netns", "delete", SPACE)


@dataclass
class TwoNodes(Rayllm):
    """A command line for a cluster of two nodes."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of every command, and of Ray."""
        return {**super().env, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}

    def ray(self, *words: str, within: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start a node that ends with this process."""
        argv = [*within, str(Path(sys.executable).with_name("ray")), "start", "--block", *words]
        with (self.folder / "ray.log").open("ab") as log:
            return subprocess.Popen(argv, env=self.env, stdout=log, stderr=log, start_new_session=True)


@pytest.fixture(scope="module")
def nodes(space: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """A head without room for a model, and a node with it in the other network; one model up."""
    folder = tmp_path_factory.mktemp("nodes")
    made = TwoNodes(folder, folder / "home")
    port, dashboard = free_port(), free_port()
    head = ["--head", f"--node-ip-address={HEAD}", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=1"]
    model = {"engine": "fake", "source": "/", "resources": {"cpus": 2}, "options": {"token_s": 0.01}, "drain_s": 5}
    cluster = {
        "backend": "ray",
        "options": {"address": f"http://127.0.0.1:{dashboard}", "token": "${env:RAY_AUTH_TOKEN}"},
    }
    made.write(
        yaml.safe_dump({"name": "far", "cluster": cluster, "models": {"m": model}, "gateway": {"port": free_port()}})
    )
    running = [made.ray(*head, "--dashboard-host=127.0.0.1", "--disable-usage-stats")]
    try:
        serve = f"http://127.0.0.1:{dashboard}/api/serve/applications/"
        until("the head runs", lambda: answers(serve, authorization=f"Bearer {TOKEN}") == 200, RAY_S)
        far = ("ip", "netns", "exec", SPACE)
        running.append(made.ray(f"--address={HEAD}:{port}", f"--node-ip-address={FAR}", "--num-cpus=2", within=far))
        until("both nodes are there", lambda: alive(f"http://127.0.0.1:{dashboard}") == 2, RAY_S)
        made("up", "--yes", seconds=180)
        yield made
        made("down", "--yes")
    finally:
        for process in running:  # asked to end, a node would drain for half a minute
            process.kill()
            process.wait()
        for pid in marked(made.home):
            os.kill(pid, signal.SIGKILL)
        until("every process is gone", lambda: not marked(made.home), 15)


def answers(url: str, **headers: str) -> int:
    """The status of an answer; 0 where there is none."""
    try:
        return httpx.get(url, headers=headers, trust_env=False, timeout=10).status_code
    except httpx.HTTPError:
        return 0


def alive(dashboard: str) -> int:
    """How many nodes the cluster has."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    told = httpx.get(f"{dashboard}/nodes?view=summary", headers=headers, trust_env=False, timeout=30).json()
    return sum(node["raylet"].get("state") == "ALIVE" for node in told["data"]["summary"])


def guard_of(nodes: TwoNodes) -> str:
    """The address that the gateway knows the replica by; empty while it knows none."""
    for config in nodes.home.glob("run/far/*/haproxy.cfg"):
        if found := re.search(rf"server \S+ ({FAR}:\d+) ", config.read_text()):
            return found[1]
    return ""


def ask(nodes: TwoNodes, **more: Any) -> httpx.Response:
    """A chat through the gateway."""
    url = f"{nodes.json('status')['gateway_url']}/v1/chat/completions"
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    return httpx.post(url, json=body, trust_env=False, timeout=30)


def process(nodes: TwoNodes, words: str) -> int:
    """The pid of the one process with these words in its command line."""
    (found,) = [pid for pid in marked(nodes.home) if re.search(words, command_of(pid))]
    return found


def test_the_replica_is_reached_through_its_guard(nodes: TwoNodes) -> None:
    """With the key that the gateway alone has; its engine's own port is closed to the other node."""
    guard = until("the gateway knows the guard", lambda: guard_of(nodes), 20)
    assert "data: [DONE]" in ask(nodes, stream=True).text
    for path in ("/", "/health", "/metrics", "/v1/models", "/openapi.json"):
        assert answers(f"http://{guard}{path}") == 403
        assert answers(f"http://{guard}{path}", **{"x-rayllm-internal-key": "wrong"}) == 403
    line = command_of(process(nodes, r"^\S*python\S* -I \S*fake_server"))
    port = re.search(r"--port (\d+)", line)
    assert port
    assert "--host 127.0.0.1" in line
    assert answers(f"http://{FAR}:{port[1]}/health") == 0


def test_a_killed_guard_is_back(nodes: TwoNodes) -> None:
    """At its address, while the engine and its replica go on."""
    guard, engine = guard_of(nodes), ask(nodes).json()["choices"][0]["message"]["content"]
    before = process(nodes, GUARD)
    os.kill(before, signal.SIGKILL)
    until("the guard is back", lambda: answers(f"http://{guard}/health") == 403, 10)
    answer: Callable[[], bool] = lambda: ask(nodes).status_code == 200  # noqa: E731
    until("the model answers", answer, 10)
    assert ask(nodes).json()["choices"][0]["message"]["content"] == engine


def test_a_guard_ends_with_its_replica(nodes: TwoNodes) -> None:
    """However that ends: Serve starts another, with another guard."""
    before, old = process(nodes, GUARD), guard_of(nodes)
    os.kill(process(nodes, "ServeReplica:far--m"), signal.SIGKILL)
    until("the guard is gone", lambda: not command_of(before), 10)
    until("the gateway knows another", lambda: guard_of(nodes) not in {"", old}, 60)
    until("the model answers", lambda: ask(nodes).status_code == 200, 30)
