"""Load for the gateways: a process that is told on its standard input what to ask, as cheap as Python allows.

It reads a line of JSON (`Work`), opens its connections, asks once over each of them, and writes `ready`. After the
next line, whatever it says, it asks for `seconds`: each client the next thing as soon as the last one is here. Then it
writes a line of JSON (`Done`) and waits for more work. An answer that is an error, is cut or lacks a word ends the
work: then the line is `{"error": "…"}`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

from benchmarks.gateway.mock import WORD, task

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PROMPT = "Tell me in many words what you see from a mountain in the morning. "
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is asked, and by how many."""

    host: str = "127.0.0.1"
    port: int
    path: str = "/v1/chat/completions"
    models: Sequence[str] = ("mock",)
    """Asked in turn."""
    key: str | None = None
    clients: int = 1
    seconds: float = 1.0
    stream: bool = False
    tokens: int = 16
    prompt_bytes: int = 900
    think_ms: int = 0
    gap_ms: int = 0
    idle: int = 0
    """Connections beside those of the clients, over which once is asked and then nothing more."""
    real: bool = False
    """A real engine: its tokens are counted by what it reports."""

    def requests(self) -> list[bytes]:
        """What is sent, for each of the models; as OpenAI's client writes it, with the messages first."""
        return [self._request(model) for model in self.models]

    def _request(self, model: str) -> bytes:
        begin = task(self.tokens, self.think_ms, self.gap_ms)
        prompt = (begin + _PROMPT * (self.prompt_bytes // len(_PROMPT) + 1))[: self.prompt_bytes]
        asked: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}], "model": model}
        asked |= {"max_tokens": self.tokens, "temperature": 0}
        if self.stream:
            asked["stream"] = True
        if self.real:
            asked |= {"ignore_eos": True, "truncate_prompt_tokens": 32}
            asked |= {"stream_options": {"include_usage": True}} if self.stream else {}
        body = json.dumps(asked).encode()
        key = f"authorization: Bearer {self.key}\r\n" if self.key else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\naccept: application/json\r\n{key}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(slots=True, kw_only=True)
class Done:
    """What came of it; times in milliseconds."""

    requests: int = 0
    seconds: float = 0.0
    first_ms: list[float] = field(default_factory=list)
    """To the first byte of an answer, of a stream to its first event."""
    whole_ms: list[float] = field(default_factory=list)


class NotWholeError(Exception):
    """An answer is not what was asked for."""


class Client(asyncio.Protocol):
    """One connection, and what it asks."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._next = number
        self._waits = False
        self.lost = False
        """Whether the gateway has closed the connection while it was kept for later, as it may."""
        self._parts: list[bytes] = []
        self._have = self._need = 0
        self._began = self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        """Not while an answer is awaited."""
        self.lost = True
        if self._waits:
            self._crowd.fail(f"a connection ended before its answer: {exc}")

    def ask(self) -> None:
        """Send the next request."""
        requests = self._crowd.requests
        self._parts, self._have, self._need, self._first = [], 0, 0, 0.0
        self._next, self._waits = self._next + 1, True
        self._began = time.perf_counter()
        self.transport.write(requests[self._next % len(requests)])

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        if not self._first and (b"data:" in data or not self._crowd.work.stream):  # a stream's head may come before
            self._first = time.perf_counter()
        self._parts.append(data)
        self._have += len(data)
        if not self._need:
            whole = b"".join(self._parts)
            end = whole.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(whole, 0, end + 2)
            self._need = end + 4 + int(length[1]) if length else -1
        if self._need < 0 and not (data.endswith(b"0\r\n\r\n") and self._ends()):
            return
        if self._have >= self._need:
            self._waits = False
            self._crowd.answered(self, self._began, self._first, b"".join(self._parts))

    def _ends(self) -> bool:
        return b"".join(self._parts[-2:]).endswith(b"\r\n0\r\n\r\n")


class Crowd:
    """All clients of one piece of work."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.requests = work.requests()
        self.done = Done()
        self._until: float | None = None
        """None while the connections are warmed."""
        self._busy = 0
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._clients: list[Client] = []

    async def open(self) -> None:
        """Open the connections, and ask once over each."""
        self._busy = self.work.clients + self.work.idle
        for number in range(self._busy):
            self._clients.append(await self._connect(number))
            self._clients[-1].ask()
        await asyncio.wait_for(self._over, _PATIENCE_S)

    async def _connect(self, number: int) -> Client:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(partial(Client, self, number), self.work.host, self.work.port)
        return client

    async def run(self) -> Done:
        """Ask for the seconds that were wanted."""
        self._over = asyncio.get_running_loop().create_future()
        self._busy = self.work.clients
        for number, client in enumerate(self._clients[: self._busy]):
            if client.lost:
                self._clients[number] = await self._connect(number)
        began = time.perf_counter()
        self._until = began + self.work.seconds
        for client in self._clients[: self.work.clients]:
            client.ask()
        await asyncio.wait_for(self._over, self.work.seconds + _PATIENCE_S)
        self.done.seconds = time.perf_counter() - began
        if lost := sum(client.lost for client in self._clients[self.work.clients :]):
            raise NotWholeError(f"{lost} idle connections were cut")
        return self.done

    def close(self) -> None:
        """Let the connections go."""
        self._over.cancel()
        for client in self._clients:
            client.transport.abort()

    def answered(self, client: Client, began: float, first: float, answer: bytes) -> None:
        """Judge an answer, and go on."""
        if not whole(answer, self.work):
            self.fail(f"an answer is not whole: {answer[:200]!r} … {answer[-200:]!r}")
            return
        if self._until is not None:
            now = time.perf_counter()
            self.done.requests += 1
            self.done.first_ms.append((first - began) * 1000)
            self.done.whole_ms.append((now - began) * 1000)
            if now < self._until:
                client.ask()
                return
        self._busy -= 1
        if not self._busy and not self._over.done():
            self._over.set_result(None)

    def fail(self, why: str) -> None:
        """End it all."""
        if not self._over.done():
            self._over.set_exception(NotWholeError(why))


def whole(answer: bytes, work: Work) -> bool:
    """Whether an answer has every word, and its end."""
    if not answer.startswith(b"HTTP/1.1 200"):
        return False
    if work.stream and b"data: [DONE]" not in answer[-64:] and b"data: [DONE]" not in dechunked(answer):
        return False
    if work.real:
        return re.search(rb'"completion_tokens": ?%d\b' % work.tokens, dechunked(answer) or answer) is not None
    return answer.count(WORD) == work.tokens or dechunked(answer).count(WORD) == work.tokens


def dechunked(answer: bytes) -> bytes:
    """The body of an answer that was sent in chunks, which may part its words."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if _LENGTH.search(head + b"\r\n"):
        return body
    parts, at = [], 0
    while (end := body.find(b"\r\n", at)) > 0:
        size = int(body[at:end].partition(b";")[0] or b"0", 16)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + size + 4
    return b"".join(parts)


async def do(told: Work) -> None:
    """Do one piece of work, and tell of it."""
    loop = asyncio.get_running_loop()
    crowd = Crowd(told)
    try:
        await crowd.open()
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        print(json.dumps(asdict(await crowd.run())), flush=True)
    except (NotWholeError, OSError, asyncio.TimeoutError) as problem:
        print(json.dumps({"error": str(problem) or "no answer in time"}), flush=True)
    finally:
        crowd.close()


def main() -> None:
    """Run as a program."""
    import uvloop  # Ray Serve brings it

    uvloop.install()
    while line := sys.stdin.readline():
        told = json.loads(line)
        asyncio.run(do(Work(**told)))


if __name__ == "__main__":
    main()
