"""HTTP, as little of it as a server for tests needs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import BytesParser
from http import HTTPStatus
from typing import Any


class Failure(Exception):  # noqa: N818 (it is an answer, not a bug)
    """An answer in OpenAI's error shape."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass
class Request:
    """One HTTP request, read completely."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Failure(400, f"the body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise Failure(400, "the body is not a JSON object")
        return value

    def form(self) -> dict[str, bytes]:
        """The fields of a multipart body."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            raise Failure(400, "the body is not multipart/form-data")
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.body)
        parts: Any = message.get_payload() if message.is_multipart() else []
        return {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) for part in parts
        }


class Reader(asyncio.StreamReader):
    """Tells at once when the client hangs up, also while nobody reads."""

    on_gone: Callable[[], object] = staticmethod(lambda: None)

    def feed_eof(self) -> None:
        """The client closed its side."""
        super().feed_eof()
        self.on_gone()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        super().set_exception(exc)
        self.on_gone()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target.partition("?")[0], headers, body)


def head(status: int, content_type: str, length: int | None) -> bytes:
    """The head of an answer; without a length the body comes in chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    phrase = HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n".encode()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write and wait until the client takes it."""
    writer.write(data)
    await writer.drain()


async def send_text(writer: asyncio.StreamWriter, text: str, content_type: str) -> None:
    """Send a whole answer."""
    data = text.encode()
    await send(writer, head(200, content_type, len(data)) + data)


async def send_json(writer: asyncio.StreamWriter, value: object, status: int = 200) -> None:
    """Send a whole JSON answer."""
    data = json.dumps(value).encode()
    await send(writer, head(status, "application/json", len(data)) + data)


async def begin_events(writer: asyncio.StreamWriter) -> None:
    """Begin a stream of events."""
    await send(writer, head(200, "text/event-stream; charset=utf-8", None))


async def send_event(writer: asyncio.StreamWriter, value: object) -> None:
    """Send one event of a stream; one that has a `type` is named by it."""
    text = value if isinstance(value, str) else json.dumps(value)
    name = f"event: {value['type']}\n" if isinstance(value, dict) and "type" in value else ""
    data = f"{name}data: {text}\n\n".encode()
    await send(writer, f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def end_events(writer: asyncio.StreamWriter) -> None:
    """End a stream of events in good order."""
    await send(writer, b"0\r\n\r\n")


def log(line: str) -> None:
    """One line of the engine's log."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
