"""A store that speaks S3's protocol: moto's server, with faults between it and whoever asks."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import boto3
import httpx
from boto3.s3.transfer import TransferConfig
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "AKIAVERYSECRET", "very/secret+0123456789"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_PART = 5 << 20
"""The smallest part that S3 takes."""


@dataclass
class Faults:
    """What goes wrong, each until it is taken back."""

    codes: list[tuple[int, str]] = field(default_factory=list)
    """For each next request: the status and S3's code that it is answered with."""
    damaged: str = ""
    """A byte of each range of objects whose name ends so is another one."""
    short: int = 0
    """How many of the next ranges end after half of their bytes, as if that were all."""
    gate: threading.Event | None = None
    """Ranges from `gate_at` on wait for it."""
    gate_at: int = 0
    private: bool = False
    """What is not signed is refused."""
    before_head: Callable[[], None] | None = None
    """Done once before the facts of an object with weights are told; files are fetched side by side."""


class S3Store:
    """The server on a free port of loopback, and what a person does with it. Use it as a context manager."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.requests: list[tuple[str, str, str]] = []
        """Method, path with query and range of every request."""
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def __enter__(self) -> S3Store:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()  # what it holds is the process's
        self._client.create_bucket(Bucket="models")
        return self

    def __exit__(self, *_: object) -> None:
        if self.faults.gate:
            self.faults.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def put(self, files: dict[str, bytes], **how: Any) -> None:
        """Lay objects at once, each by its key."""
        for key, content in files.items():
            self._client.put_object(Bucket="models", Key=key, Body=content, **how)

    def put_in_parts(self, key: str, content: bytes) -> None:
        """Lay an object as one does with large ones."""
        parts = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART)
        self._client.upload_fileobj(io.BytesIO(content), "models", key, Config=parts)

    def ranges(self) -> list[int]:
        """The first byte of each range that was asked for."""
        found = (_RANGE.match(asked) for _, _, asked in self.requests)
        return sorted(int(match[1]) for match in found if match)

    def _app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, asked = environ["REQUEST_METHOD"], environ.get("HTTP_RANGE", "")
        agent = environ.get("HTTP_USER_AGENT", "").lower()
        if "boto3" in agent or "httpx" in agent:  # whoever lays the objects
            return list(self._moto(environ, start_response))
        self.requests.append((method, f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}", asked))
        if self.faults.codes:
            return _refused(*self.faults.codes.pop(0), method, start_response)
        if self.faults.private and "HTTP_AUTHORIZATION" not in environ:
            return _refused(403, "AccessDenied", method, start_response)
        weights = environ["PATH_INFO"].endswith(".safetensors")
        if method == "HEAD" and weights and self.faults.before_head:
            act, self.faults.before_head = self.faults.before_head, None
            act()
        match = _RANGE.match(asked)
        if match and self.faults.gate and int(match[1]) >= self.faults.gate_at:
            self.faults.gate.wait()
        damaged = self.faults.damaged and environ["PATH_INFO"].endswith(self.faults.damaged)
        if match and (damaged or self.faults.short):
            return self._spoiled(environ, start_response, damaged=bool(damaged))
        return list(self._moto(environ, start_response))

    def _spoiled(self, environ: dict[str, Any], start_response: Any, *, damaged: bool) -> Iterator[bytes]:
        told: dict[str, Any] = {}

        def keep(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            told.update(status=status, headers=dict(headers))

        body = b"".join(self._moto(environ, keep))
        if self.faults.short:
            self.faults.short -= 1
            body = body[: len(body) // 2]
        if damaged:
            body = bytes([body[0] ^ 1]) + body[1:]
        start_response(told["status"], list({**told["headers"], "Content-Length": str(len(body))}.items()))
        yield body


def _refused(status: int, code: str, method: str, start_response: Any) -> list[bytes]:
    """S3's own form of an error; an answer to HEAD has no body."""
    body = f"<Error><Code>{escape(code)}</Code><Message>made to fail: {escape(code)}</Message></Error>".encode()
    start_response(f"{status} Made to fail", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]  # it has no types
    """Says nothing, and keeps connections open as S3 does."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        """Keep quiet."""
