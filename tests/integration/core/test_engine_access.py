"""Who reaches an engine: real guards and a real gateway before the fake engine's own process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port, until

from rayllm.engines import OPENAI_ENDPOINTS
from rayllm.serving.haproxy.guard import ABSENT, Guard, files
from rayllm.serving.haproxy.view import ModelRoute, Upstream
from rayllm.serving.processes.supervised import marked
from rayllm.testing import fake_server

KEY = "k" * 64
FAR = "127.0.0.2"
"""An address of this machine on which nothing listens that is told to listen on 127.0.0.1."""
BOUND_S = 10.0
CHAT = "/v1/chat/completions"
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


class Engine:
    """A fake engine, listening as a replica's does."""

    def __init__(self, model: str, *flags: str) -> None:
        self.model = model
        self.port = free_port()
        argv = [sys.executable, "-I", fake_server.__file__, "--model", model, "--port", str(self.port), *flags]
        self.process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        until("the engine is ready", self.ready, BOUND_S)

    def ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(OSError):
            return ask("127.0.0.1", self.port, "GET", "/health")[0] == 200
        return False

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()

    def routes(self) -> list[tuple[str, str]]:
        """Method and path of everything that it answers."""
        paths = json.loads(ask("127.0.0.1", self.port, "GET", "/openapi.json")[1])["paths"]
        return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def ask(
    host: str, port: int, method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer over a connection of its own."""
    connection = HTTPConnection(host, port, timeout=BOUND_S)
    try:
        connection.request(method, path, json.dumps(body).encode() if body is not None else None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own for what guards read at their start."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One that answers a word every 50 ms."""
    made = Engine("a", "--token-s", "0.05")
    yield made
    made.kill()


@pytest.fixture
def guard(engine: Engine, tmp_path: Path) -> Iterator[Guard]:
    """The engine's guard, on another address."""
    made = Guard(FAR, free_port(), engine.port, KEY, log=tmp_path / "guard.log", marker=f"guard-{engine.port}")
    yield made
    made.stop()


def test_an_engine_listens_on_its_loopback_alone(engine: Engine) -> None:
    """Whoever comes from elsewhere finds nobody there."""
    with socket.socket() as probe:
        assert probe.connect_ex((FAR, engine.port)) != 0


def test_every_route_wants_the_key(engine: Engine, guard: Guard) -> None:
    """Whatever the method and the path: 403 without the key or with another; with it, what the engine says itself."""
    known = engine.routes()
    paths = [*{path for _, path in known}, "/", "/nowhere", "//health", "/health/../metrics", "/health?key=" + KEY]
    wrong = [{}, {"x-rayllm-internal-key": ""}, {"x-rayllm-internal-key": "K" * 64}, {"authorization": f"Bearer {KEY}"}]
    for method in METHODS:
        for path in paths:
            for headers in wrong:
                assert ask(*guard.address, method, path, headers=headers)[0] == 403, (method, path, headers)
            right = {"x-rayllm-internal-key": KEY}
            through = ask(*guard.address, method, path, headers=right)[0]
            assert through == ask("127.0.0.1", engine.port, method, path)[0], (method, path)
    assert {"GET", "POST"} == {method for method, _ in known}


def test_the_engine_does_not_see_the_key(upstream: Any, tmp_path: Path) -> None:
    """The guard keeps it to itself, and holds no more of it than a digest."""
    a = upstream("a1")
    made = Guard(FAR, free_port(), a.server_port, KEY, log=tmp_path / "guard.log", marker=f"guard-{a.server_port}")
    headers = {"x-rayllm-internal-key": KEY, "x-mine": "1"}
    try:
        assert ask(*made.address, "POST", CHAT, body={"model": "a"}, headers=headers)[0] == 200
    finally:
        made.stop()
    assert {name.lower() for name in a.seen[0].headers} == {"host", "accept-encoding", "content-length", "x-mine"}
    assert not any(KEY in text for text in files(FAR, 1, 2, KEY).values())


def test_a_guard_that_ends_is_started_again(guard: Guard, tmp_path: Path) -> None:
    """At the same address; its log tells nothing of the key, and its end leaves nothing."""
    assert not guard.revive()
    os.kill(guard.pid, signal.SIGKILL)
    until("it runs again", guard.revive, BOUND_S)
    assert ask(*guard.address, "GET", "/health", headers={"x-rayllm-internal-key": KEY})[0] == 200
    assert KEY not in (tmp_path / "guard.log").read_text()
    guard.stop()
    assert not marked("guard-")


def view(gateway: Any, *upstreams: Upstream, **more: Any) -> Any:
    """A view with the model `a` at these replicas."""
    return gateway.view(ModelRoute("a", KEY, upstreams, **more))


def test_the_gateway_shows_the_key_to_guards(gateway: Any, engine: Engine, guard: Guard) -> None:
    """A stream comes through both, chunk by chunk; a client that goes ends its request in the engine."""
    gateway.haproxy.start(view(gateway, Upstream("r1", *guard.address, guarded=True)))
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 400}
    answer = gateway.open("POST", CHAT, body, x_rayllm_internal_key="forged")
    assert answer.status == 200
    assert answer.read1(20).startswith(b"data: {")
    answer.close()
    gateway.connections[-1].close()

    def idle() -> bool:
        return b'running{engine="0",model_name="a"} 0.0' in ask("127.0.0.1", engine.port, "GET", "/metrics")[1]

    until("the engine has nothing to do", idle, BOUND_S)


def test_a_replica_on_this_machine_gets_no_key(gateway: Any, upstream: Any) -> None:
    """Where none of a model's replicas has a guard."""
    a = upstream("a1")
    gateway.haproxy.start(view(gateway, a.route))
    assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 200
    assert "x-rayllm-internal-key" not in a.seen[0].headers


def test_a_dead_engine_behind_a_guard_is_passed_over(gateway: Any, engine: Engine, guard: Guard) -> None:
    """As one whose connection is refused: another replica answers; without another it is 503, and what to do."""
    other = Engine("a")
    try:
        far = Upstream("r1", *guard.address, guarded=True)
        gateway.haproxy.start(view(gateway, far, Upstream("r2", "127.0.0.1", other.port)))
        engine.kill()
        body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
        assert ask(*guard.address, "POST", CHAT, body=body, headers={"x-rayllm-internal-key": KEY})[0] == ABSENT
        for _ in range(4):
            assert gateway.ask("POST", CHAT, body)[0] == 200
        gateway.haproxy.apply(view(gateway, far))
        with gateway.open("POST", CHAT, body) as answer:
            assert (answer.status, json.loads(answer.read())["error"]["code"]) == (503, "service_unavailable")
            assert answer.headers["retry-after"]
    finally:
        other.kill()


def test_a_websocket_passes_gateway_and_guard(gateway: Any, guard: Guard) -> None:
    """What is said is heard back, though the engine is behind both."""
    gateway.haproxy.start(view(gateway, Upstream("r1", *guard.address, guarded=True)))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=BOUND_S) as line:
        key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        line.sendall(f"GET /models/a/v1/realtime HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
        answer = line.makefile("rb")
        assert b" 101 " in answer.readline()
        while answer.readline() != b"\r\n":
            pass
        line.sendall(b"\x81\x82" + bytes(4) + b"hi")
        assert answer.read(4) == b"\x81\x02hi"


def test_a_key_does_not_manage_an_engine(gateway: Any, upstream: Any) -> None:
    """Whatever the path, by body or by name: endpoints pass, all else is 404 and the engine hears nothing of it."""
    a = upstream("a1")
    gateway.haproxy.start(view(gateway, a.route, endpoints=("/v1/chat/completions", "/v1/responses/")))
    closed = [
        *(
            "/metrics",
            "/whoami",
            "/sleep",
            "/v1/load_lora_adapter",
            "/",
            "/v1/chat/completions/",
            "/V1/chat/completions",
        ),
        *("/v1/responses", "/v1/responses/../../sleep", "/v1/responses/x/%2e%2e/%2E%2e/sleep", "/v1/responses//sleep"),
        *("/v1/chat/completions/../../sleep", "/v1/responses/..;/sleep", "/v1/responses/..\\..\\sleep"),
    ]
    for path in closed:
        for method, where in (("POST", path), ("POST", f"/models/a{path}"), ("GET", f"/models/a{path}")):
            status, answer = gateway.ask(method, where, {"model": "a"})
            assert (status, answer["error"]["code"]) == (404, "not_found"), where
    assert not a.seen
    for path in ("/v1/chat/completions?x=/metrics", "/v1/responses/resp_1/cancel"):
        assert gateway.ask("POST", path, {"model": "a"})[0] == 200
        assert gateway.ask("GET", f"/models/a{path}", {"model": "a"})[0] == 200


def test_every_route_through_the_gateway(gateway: Any, engine: Engine) -> None:
    """Without a key each is 401; with one those that are endpoints are the engine's, and the others 404."""
    upstream = Upstream("r1", "127.0.0.1", engine.port)
    gateway.haproxy.start(view(gateway, upstream))
    for method, path in engine.routes():
        status = ask("127.0.0.1", gateway.port, method, f"/models/a{path}")[0]
        if path in OPENAI_ENDPOINTS:
            assert status == ask("127.0.0.1", engine.port, method, path)[0], path
        else:
            assert status == 404, path
    gateway.haproxy.apply(replace(view(gateway, upstream), keys_required=True))
    for method, path in engine.routes():
        for where in (path, f"/models/a{path}"):
            if where != "/health":
                assert ask("127.0.0.1", gateway.port, method, where, body={"model": "a"})[0] == 401, where
