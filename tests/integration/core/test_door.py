"""The door: what answers at a gateway's address before it comes, after it left, and after it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.integration.core.dashboard import TOKEN, Dashboard

from rayllm.errors import ClusterError
from rayllm.serving.haproxy.door import Door
from rayllm.serving.haproxy.ingress import Ingress
from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, ModelRoute
from rayllm.serving.processes.supervised import marked
from rayllm.serving.run_dir import RunDir

CHAT = "/v1/chat/completions"
BACK_S = 5.0
"""Five times what it may take."""
_CLIENTS = 8
_ROUNDS = 4


@pytest.fixture
def ray() -> Iterator[Dashboard]:
    """A dashboard."""
    made = Dashboard()
    yield made
    made.close()


@pytest.fixture
def door(gateway: Any, ray: Dashboard, tmp_path: Path) -> Iterator[Door]:
    """One that stands."""
    made = Door(tmp_path / "logs", ("127.0.0.1", gateway.port), ray.place, gateway.deployment)
    made.start()
    yield made
    made.stop()
    assert not doors(gateway)


def doors(gateway: Any) -> list[int]:
    """Processes of the deployment's doors: reapers and HAProxies."""
    return marked(f"{gateway.deployment}--door/")


@pytest.fixture
def serving(gateway: Any, ray: Dashboard, upstream: Any, tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Start the gateway, as its actor does; gives its HAProxy and its folder."""
    made: list[tuple[HAProxy, RunDir]] = []
    routes = (ModelRoute("a", "k", (upstream("a1").route,)),)

    def start() -> tuple[HAProxy, RunDir]:
        folder = RunDir(gateway.deployment, "127.0.0.1", gateway.port)
        haproxy = HAProxy(gateway.log, tmp_path / "access.log", folder.keeping)
        made.append((haproxy, folder))
        view: GatewayView = replace(gateway.view(*routes), run_dir=folder.path, ingress=Ingress(None, ray.place))
        haproxy.start(view)
        return made[-1]

    yield start
    for haproxy, folder in made:
        haproxy.stop(0)
        folder.remove()


def chat(gateway: Any) -> int:
    """Status of the model's answer."""
    return int(gateway.ask("POST", CHAT, {"model": "a"})[0])


def answers(gateway: Any, status: int) -> Callable[[], bool]:
    """Whether the model's name is answered so."""

    def ask() -> bool:
        with contextlib.suppress(OSError, HTTPException):
            return chat(gateway) == status
        return False

    return ask


@pytest.mark.usefixtures("door")
def test_before_there_is_a_gateway(gateway: Any) -> None:
    """It is healthy, passes on what goes to Ray, and tells everybody else when to come again."""
    assert gateway.ask("GET", "/health") == (200, {})
    assert gateway.ask("GET", "/rayllm/ray/api/version", **TOKEN)[1]["asked"] == "GET /api/version"
    assert gateway.ask("GET", "/rayllm/ray/api/version")[0] == 401
    assert gateway.ask("GET", "/rayllm/ray/api/actors", **TOKEN)[0] == 404
    for path in ("/v1/models", "/rayllm/v1/keys", "/"):
        with gateway.open("GET", path) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert b'"message": "no model is deployed yet"' in answer.read()


def test_it_makes_room_and_comes_back(gateway: Any, door: Door, serving: Any) -> None:
    """For a gateway; the very request that deploys it goes through the door, and is answered."""
    haproxy, _ = serving()
    gateway.until(lambda: not doors(gateway))
    assert chat(gateway) == 200
    haproxy.stop(1)
    assert chat(gateway) == 503
    assert door.poll() is None
    door.stop()
    door.start()
    serving()
    gateway.until(lambda: not doors(gateway))
    assert chat(gateway) == 200


def test_what_it_has_begun_it_ends(gateway: Any, door: Door, ray: Dashboard, serving: Any) -> None:
    """The request that deploys the gateway is in flight while the gateway comes."""
    with ThreadPoolExecutor() as pool:
        deploying = pool.submit(gateway.ask, "PUT", "/rayllm/ray/api/serve/applications/", b"{}", **TOKEN)
        assert ray.began.wait(BACK_S)
        serving()
        gateway.until(lambda: door._process is None)
        assert chat(gateway) == 200
        ray.gate.set()
        assert deploying.result()[0] == 200
    gateway.until(lambda: not doors(gateway))


def test_nobody_is_turned_away_meanwhile(gateway: Any, door: Door, serving: Any) -> None:
    """Whoever asks while both follow each other gets an answer: the model's, or the word to come again."""
    over = Event()

    def asked() -> Iterator[object]:
        while not over.is_set():
            try:
                yield chat(gateway)
            except (HTTPException, OSError) as error:
                yield repr(error)

    with ThreadPoolExecutor(_CLIENTS) as pool:
        clients = [pool.submit(lambda: list(asked())) for _ in range(_CLIENTS)]
        try:
            for _ in range(_ROUNDS):
                haproxy, folder = serving()
                gateway.until(lambda: door._process is None and answers(gateway, 200)())
                haproxy.stop(10)
                folder.remove()
                gateway.until(answers(gateway, 503))
        finally:
            over.set()
    found = [answer for client in clients for answer in client.result()]
    counted = {answer: found.count(answer) for answer in set(found)}
    assert counted.keys() == {200, 503}, counted


def test_open_connections_are_answered_by_the_door(gateway: Any, door: Door, serving: Any) -> None:
    """An ingress keeps connections to a gateway that leaves, and uses them again."""
    haproxy, _ = serving()
    gateway.until(lambda: door._process is None)
    connection = gateway.connect()
    for leaving in (False, True):
        if leaving:
            with ThreadPoolExecutor() as pool:
                stopping = pool.submit(haproxy.stop, 10)
                gateway.until(lambda: door._process is not None)
                connection.request("GET", "/rayllm/ray/api/version", headers=TOKEN)
                assert connection.getresponse().status == 200
                stopping.result()
        else:
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"{}"


@pytest.mark.usefixtures("door")
def test_a_gateway_that_is_killed(gateway: Any, serving: Any) -> None:
    """Its keeper brings HAProxy back; without a keeper the door comes."""
    serving()
    gateway.until(lambda: not doors(gateway))
    os.kill(gateway.haproxies()["master"], signal.SIGKILL)
    gateway.until(answers(gateway, 200))
    os.kill(gateway.haproxies()["keeper"], signal.SIGKILL)
    start = time.monotonic()
    gateway.until(answers(gateway, 503))
    assert time.monotonic() - start < BACK_S


def test_its_own_haproxy_is_killed(gateway: Any, door: Door) -> None:
    """It comes back."""
    before = door._process
    assert before
    os.kill(before.pid, signal.SIGKILL)
    gateway.until(lambda: door._process not in (before, None))
    gateway.until(answers(gateway, 503))
    os.kill(door._process.reaper_pid, signal.SIGKILL)  # type: ignore[union-attr]
    gateway.until(answers(gateway, 503))


def test_what_keeps_it_away_is_told(gateway: Any, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it lasts: the door goes on trying."""
    lack = ClusterError("there is no HAProxy on this node")

    def none() -> str:
        raise lack

    with monkeypatch.context() as patch:
        patch.setattr("rayllm.serving.haproxy.door.binary", none)
        os.kill(door._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        gateway.until(lambda: door.poll() is lack)
    gateway.until(lambda: door.poll() is None)
    assert chat(gateway) == 503


def test_nothing_outlives_its_owner(gateway: Any, ray: Dashboard, tmp_path: Path) -> None:
    """Its owner imports no Ray, and may be killed; the next one takes its place."""
    place = (("127.0.0.1", gateway.port), ray.place, gateway.deployment)
    code = (
        "import sys, pathlib; from rayllm.serving.haproxy.door import Door\n"
        f"Door(pathlib.Path({str(tmp_path)!r}), *{place!r}).start()\n"
        "print('ray' in sys.modules, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"False\n"
        assert doors(gateway)
        with pytest.raises(ClusterError, match="another process keeps the door"):
            Door(tmp_path, *place).start()
        owner.kill()
    after = Door(tmp_path, *place)
    after.start()
    assert gateway.ask("GET", "/health") == (200, {})
    after.stop()
    assert not doors(gateway)


def test_a_port_that_somebody_else_has(gateway: Any, ray: Dashboard, tmp_path: Path) -> None:
    """The same port of another address of this machine is not meant."""
    with socket.create_server(("127.0.5.5", gateway.port)):
        door = Door(tmp_path, ("127.0.0.1", gateway.port), ray.place, gateway.deployment)
        door.start()
        assert gateway.ask("GET", "/health") == (200, {})
        door.stop()
    with socket.create_server(("127.0.0.1", gateway.port)), pytest.raises(ClusterError, match="is in use by"):
        door.start()
    assert not doors(gateway)


def test_it_does_not_fight_for_the_port(gateway: Any, door: Door) -> None:
    """Whoever shares it and is no gateway has it, as long as it listens."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", gateway.port))
        other.listen()
        gateway.until(lambda: door._process is None)
    gateway.until(answers(gateway, 503))
