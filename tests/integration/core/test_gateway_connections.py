"""Many connections, slow ones and deaf ones: the others are served on, and memory stays within bounds."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rayllm.serving.haproxy.view import ModelRoute

CHAT = "/v1/chat/completions"
IDLE, STREAMS = 5000, 200
WAIT_S = 20.0


@pytest.fixture
def client(gateway: Any) -> Iterator[Any]:
    """Open connections that have sent something; many are possible, and all are closed at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * IDLE), hard))
    with contextlib.ExitStack() as stack:

        def connect(data: bytes, **options: int) -> socket.socket:
            line = stack.enter_context(socket.socket())
            for name, value in options.items():
                line.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
            line.settimeout(WAIT_S)
            line.connect(("127.0.0.1", gateway.port))
            line.sendall(data)
            return line

        yield connect
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def post(body: object, *, missing: int = 0) -> bytes:
    """A request for a model; its last bytes may be missing."""
    data = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data[: len(data) - missing]


def megabytes(gateway: Any) -> int:
    """Resident memory of the worker."""
    status = Path(f"/proc/{gateway.haproxies()['worker']}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) // 1024


def test_thousands_of_idle_connections_beside_streams(gateway: Any, upstream: Any, client: Any) -> None:
    """Nothing is refused, and they cost next to nothing: 16 MB were measured."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (a.route,), max_ongoing=2 * STREAMS)))
    for _ in range(IDLE):
        assert client(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").recv(1000).startswith(b"HTTP/1.1 200")
    streams = [client(post({"model": "a", "stream": True})) for _ in range(STREAMS)]
    assert all(line.recv(15) == b"HTTP/1.1 200 OK" for line in streams)
    assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 200
    a.gate.set()
    assert all(_until_end(line).endswith(b"data: two\n\n\r\n0\r\n\r\n") for line in streams)
    assert megabytes(gateway) < 5 * 16


def test_slow_clients_hold_nobody_up(gateway: Any, upstream: Any, client: Any) -> None:
    """Headers and bodies that don't end, answers that nobody reads: the others are served, and headers are cut."""
    a = upstream("a1")
    a.plain_answer = (200, "application/json", b"[" + b" " * 5_000_000 + b"]")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (a.route,))))
    for _ in range(50):
        client(post({"model": "a"}), SO_RCVBUF=4096)
    for _ in range(100):
        client(post({"model": "a", "messages": "x" * 200_000}, missing=10))
    slow = [client(b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: ") for _ in range(500)]
    gateway.until(lambda: len(a.seen) == 50)
    a.plain_answer = None
    assert [gateway.ask("POST", CHAT, {"model": "a"})[0] for _ in range(20)] == [200] * 20
    assert all(b" 408 " in line.recv(1000).partition(b"\r\n")[0] for line in slow)
    assert megabytes(gateway) < 5 * 60


def _until_end(line: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"0\r\n\r\n") and (more := line.recv(65536)):
        said += more
    return said
