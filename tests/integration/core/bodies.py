"""A gateway with engines that take any body and say what they got."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rayllm.serving.haproxy.view import Alias, GatewayView, ModelRoute, Upstream

CHAT = "/v1/chat/completions"
PATH = "/v1/responses"
"""Where nothing is asked of the engine beside what the client asks."""
MIB = 1 << 20
MOST = 64 * MIB
NAMES = ("a", "b")


class Reader(ThreadingHTTPServer):
    """An engine that takes any body, and says what it got."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.body = b""
        self.keeps = True
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def route(self) -> Upstream:
        """As the gateway knows it."""
        return Upstream(self.name, "127.0.0.1", self.server_port)

    def close(self) -> None:
        """Be gone."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Reader

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""

    def do_POST(self) -> None:
        """Read the body, and answer with its digest."""
        digest, size, kept = hashlib.sha256(), 0, []
        for piece in self._pieces():
            digest.update(piece)
            size += len(piece)
            if self.server.keeps:
                kept.append(piece)
        self.server.body = b"".join(kept)
        answer = json.dumps({"by": self.server.name, "size": size, "sha256": digest.hexdigest()}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _pieces(self) -> Iterator[bytes]:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            left = int(self.headers["content-length"])
            while left:
                piece = self.rfile.read(min(left, MIB))
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


class Served:
    """A gateway with the models `a` and `b`, and `other` for `b`."""

    def __init__(self, gateway: Any) -> None:
        self.gateway = gateway
        self.engines = {name: Reader(name) for name in NAMES}
        routes = tuple(ModelRoute(name, "k", (engine.route,)) for name, engine in self.engines.items())
        self.view: GatewayView = replace(gateway.view(*routes), aliases=(Alias("other", (("b", 1),)),))
        gateway.haproxy.start(self.view)
        gateway.until((self.view.run_dir / "large.sock").exists)
        self.connection: HTTPConnection = gateway.connect()

    def lines(self) -> list[dict[str, Any]]:
        """The requests of the access log."""
        text = self.gateway.log.with_name("access.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def ask(
        self, body: bytes, kind: str = "application/json", *, chunked: int = 0, path: str = PATH, **headers: str
    ) -> Any:
        """Status and answer, over one kept connection; `chunked` is the size of the pieces."""
        pieces = (body[at : at + chunked] for at in range(0, len(body), chunked)) if chunked else body
        headers = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with contextlib.suppress(ConnectionError):  # it is closed while we send; what it said is there to read
            self.connection.request("POST", path, pieces, headers, encode_chunked=bool(chunked))
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


def padded(size: int, name: str = "a", at: int | None = None) -> bytes:
    """A request of exactly this many bytes, the name at this offset, or at the end."""
    head, tail = b'{"messages": "', b'", "model": "%s"' % name.encode()
    at = size - len(name) - 2 if at is None else at
    start = head + b"x" * (at - len(head) - len(tail) + len(name) + 1) + tail + b', "user": "'
    start, rest = (
        (start, size - len(start) - 2) if size - len(start) >= 2 else (start[: -len(b', "user": "')] + b"}", 0)
    )
    return start if start.endswith(b"}") else start + b"y" * rest + b'"}'
