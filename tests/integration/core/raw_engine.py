"""An engine that writes raw bytes, and how HTTP frames them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from rayllm.serving.haproxy.view import Upstream


class RawEngine:
    """Answers each request with the parts that `answer` gives, each sent on its own; None breaks the connection off."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.answer: Callable[[bytes], Iterator[bytes | None]] = lambda _: iter(())
        self.bodies: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def route(self) -> Upstream:
        """As the gateway knows it."""
        return Upstream("raw", "127.0.0.1", self.listener.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as lines:
            while head := _head(lines):
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
                )
                self.bodies.append(lines.read(int(length.split(b":")[1])))
                for part in self.answer(self.bodies[-1]):
                    if part is None:
                        return
                    connection.sendall(part)


def _head(lines: BinaryIO) -> bytes:
    """The head of the next request; empty when the other side is gone, which a look at a replica is at once."""
    found = b""
    while (line := lines.readline()) not in {b"\r\n", b""}:
        found += line
    return found


def chunked(*parts: bytes) -> bytes:
    """Parts of a body that say their length, and its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def plain(body: bytes) -> bytes:
    """A JSON answer."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
