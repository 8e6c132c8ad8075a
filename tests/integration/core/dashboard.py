"""Ray's dashboard as far as its address goes: tells what it was asked, streams, takes packages."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUND_S = 10.0
TOKEN = {"x-ray-authorization": "Bearer token"}


class Dashboard(ThreadingHTTPServer):
    """Answers until `close`; what waits goes on when `gate` is set."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gate = threading.Event()
        self.began = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def place(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.server_port

    def close(self) -> None:
        """End."""
        self.gate.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dashboard

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""

    def do_GET(self) -> None:
        """Stream a log, or tell what was asked."""
        if not self.path.startswith("/api/v0/logs/stream"):
            self.do_PUT()
            return
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self._chunk(b"one\n")
        self.server.gate.wait(BOUND_S)
        self._chunk(b"two\n")
        self._chunk(b"")

    def do_POST(self) -> None:
        """The same."""
        self.do_PUT()

    def do_DELETE(self) -> None:
        """The same."""
        self.do_PUT()

    def do_PUT(self) -> None:
        """Tell what was asked; a deployment waits for the gate, as Serve's takes its time."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.command == "PUT" and self.path == "/api/serve/applications/":
            self.server.began.set()
            self.server.gate.wait(BOUND_S)
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = {"asked": f"{self.command} {self.path}", "headers": headers, "sha256": hashlib.sha256(body).hexdigest()}
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
