"""Engines made of the standard library with a gateway in front of them, and a package index that is a folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port

from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, ModelRoute, Upstream
from rayllm.serving.processes.supervised import marked

BOUND_S = 10.0


@dataclass
class Seen:
    """One request, as an engine got it."""

    path: str
    headers: Message[str, str]
    body: bytes


class FakeUpstream(ThreadingHTTPServer):
    """An engine: names itself, streams two chunks with `gate` between them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.gate = threading.Event()
        self.gone = threading.Event()
        self.seen: list[Seen] = []
        self.plain_answer: tuple[int, str, bytes] | None = None
        self.breaks_off = False
        self.connections: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is part of the tests."""

    @property
    def route(self) -> Upstream:
        """As the gateway knows it."""
        return Upstream(self.name, "127.0.0.1", self.server_port)

    def kill(self) -> None:
        """Be gone, with every connection."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeUpstream

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer as for a POST without a body."""
        self.do_POST()

    def do_POST(self) -> None:
        """Take the request down and answer."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append(Seen(self.path, self.headers, body))
        asked: dict[str, Any] = json.loads(body) if body else {}
        if self.server.breaks_off:
            self.close_connection = True
        elif asked.get("stream"):
            self._stream()
        elif asked.get("slow"):
            self._wait_for_the_client_to_go()
        else:
            status, kind, answer = self.server.plain_answer or (
                200,
                "application/json",
                json.dumps({"by": self.server.name, "model": asked.get("model")}).encode(),
            )
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._chunk(b"data: one\n\n")
        self.server.gate.wait(BOUND_S)
        self._chunk(b"data: two\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _wait_for_the_client_to_go(self) -> None:
        self.connection.settimeout(BOUND_S)
        with contextlib.suppress(ConnectionResetError):
            assert self.connection.recv(1) == b""
        self.server.gone.set()
        self.close_connection = True


@dataclass
class FakeGateway:
    """A real HAProxy, and what to ask it."""

    haproxy: HAProxy
    port: int
    serve_port: int
    run_dir: Path
    log: Path
    connections: list[HTTPConnection] = field(default_factory=list)

    @property
    def access(self) -> Path:
        """The access log."""
        return self.log.with_name("access.log")

    @property
    def deployment(self) -> str:
        """A name that no other test on this machine has."""
        return f"test-{self.port}"

    @staticmethod
    def until(condition: Callable[[], object]) -> None:
        """Wait for a condition, within a bound."""
        end = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """All of the deployment that runs: keepers, masters and workers."""
        return marked(f"{self.deployment}--rayllm/")

    def haproxies(self, config: str = "haproxy.cfg") -> dict[str, int]:
        """The HAProxy with this configuration: the pids of its `keeper`, `master` and newest `worker`."""
        found: dict[str, int] = {}
        for pid in sorted(self.processes()):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if b"-m" in command:
                    found["keeper"] = pid
                elif config.encode() in command:
                    found["worker" if parent == found.get("master") else "master"] = pid
        return found

    def view(self, *routes: ModelRoute) -> GatewayView:
        """A view with these models."""
        return GatewayView(self.deployment, "127.0.0.1", self.port, self.serve_port, routes, self.run_dir)

    def connect(self) -> HTTPConnection:
        """A new connection, closed at the end of the test."""
        self.connections.append(HTTPConnection("127.0.0.1", self.port, timeout=BOUND_S))
        return self.connections[-1]

    def open(self, method: str, path: str, body: object = None, **headers: str) -> HTTPResponse:
        """Ask over a new connection; a body that is not bytes goes as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = self.connect()
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        with self.open(method, path, body, **headers) as answer:
            assert answer.headers["content-type"] == "application/json"
            return answer.status, json.loads(answer.read())


@pytest.fixture
def upstream() -> Iterator[Callable[[str], FakeUpstream]]:
    """Start an engine of this name."""
    made: list[FakeUpstream] = []

    def start(name: str) -> FakeUpstream:
        made.append(FakeUpstream(name))
        return made[-1]

    yield start
    for each in made:
        each.gate.set()
        each.kill()


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """One that is not started yet."""
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    log = tmp_path / "gateway.log"
    made = FakeGateway(HAProxy(log, tmp_path / "access.log"), free_port(), free_port(), tmp_path / "run", log)
    yield made
    for connection in made.connections:
        connection.close()
    made.haproxy.stop(0)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip's own file names, and nothing else in reach; RAYLLM_HOME and uv's cache are new."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "wheels"
    folder.mkdir()
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\nno-index = true\nfind-links = {folder}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("RAYLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("GATE", str(tmp_path))
    return folder
