"""What answers the platform on a worker's application port."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from rayllm_backend_cai.node.ports import LOOPBACK
from rayllm_backend_cai.shared import HEALTH, NodeRecord


class HealthDoor:
    """Answers `/health` with 200 and what the node says of itself, as long as this process runs.

    Args:
        port: where it listens.
        record: what the node says of itself.
    """

    def __init__(self, port: int, record: Callable[[], NodeRecord]) -> None:
        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                known = self.path.partition("?")[0] == HEALTH
                body = record().model_dump_json().encode() if known else b""
                self.send_response(200 if known else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """The platform asks every few seconds."""

        self._server = ThreadingHTTPServer((LOOPBACK, port), Answers)

    def __enter__(self) -> HealthDoor:
        threading.Thread(target=self._server.serve_forever, name="door", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
