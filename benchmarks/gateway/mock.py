"""An engine without a model, as cheap as Python allows: what is left between it and a client is the gateway.

`python -m benchmarks.gateway.mock PORT [--addresses N]` speaks so much of OpenAI's API as gateways ask of an engine.
A request's prompt names its work (`task`), since some gateways write all the rest anew: how many words are answered,
each a chunk and a write of its own where it is streamed, the milliseconds before the first word, and those between the
chunks of a stream. All streams of one gap make their next chunk at the same moment, as a batching engine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import ClassVar, cast

MODEL = "mock"
WORD = b"w0rd"
"""What every token says: it occurs nowhere else, so that a client can count."""
_EDGE = 16384
"""Bytes at the beginning and at the end of a large body that are looked at; the rest is prompt."""
_STUFFED = 262144
"""Bytes that may wait for a client that does not read; more, and its stream makes a pause."""
_TOKENS = b'"usage":{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":%d}'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
TASK = re.compile(rb"task (\d+) words, think (\d+) ms, gap (\d+) ms")
_STREAM = re.compile(rb'"stream": *true')
_USAGE = re.compile(rb'"include_usage": *true')
_ABOUT = {
    b"/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "mock"}]},
    b"/get_server_info": {"model_path": MODEL, "served_model_name": MODEL},
    b"/server_info": {"model_path": MODEL, "served_model_name": MODEL},
    b"/get_model_info": {"model_path": MODEL, "served_model_name": MODEL},
    b"/model_info": {"model_path": MODEL, "served_model_name": MODEL},
}
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: "
_STREAM_HEAD = _HEAD + b"text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def task(words: int, think_ms: int, gap_ms: int) -> str:
    """What a prompt begins with."""
    return f"task {words} words, think {think_ms} ms, gap {gap_ms} ms. "


def _piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: bytes, finish: bytes) -> bytes:
    choice = b'{"index":0,"delta":%b,"finish_reason":%b}' % (delta, finish)
    return b'data: {%b,"choices":[%b]}\n\n' % (_SAME % b".chunk", choice)


_SAME = b'"id":"chatcmpl-0","object":"chat.completion%b","created":1,"model":"mock"'
_DONE = b"data: [DONE]\n\n"
_WORD_EVENT = _event(b'{"content":"%b "}' % WORD, b"null")
_STOP_EVENT = _event(b"{}", b'"stop"')
_CHUNK = _piece(_WORD_EVENT)


def chunks_of(tokens: int) -> list[bytes]:
    """The events of a stream."""
    return [_WORD_EVENT] * tokens + [_STOP_EVENT, _DONE]


@lru_cache
def answer_of(tokens: int) -> bytes:
    """A whole answer."""
    message = b'{"role":"assistant","content":"%b"}' % ((WORD + b" ") * tokens)
    choice = b'{"index":0,"message":%b,"finish_reason":"stop"}' % message
    return b'{%b,"choices":[%b],%b}' % (_SAME % b"", choice, _TOKENS % (tokens, tokens + 7))


@lru_cache
def _answer(tokens: int) -> bytes:
    return _json(answer_of(tokens))


@lru_cache
def _end(tokens: int, *, usage: bool) -> bytes:
    """What follows the last word of a stream."""
    told = _piece(b'data: {%b,"choices":[],%b}\n\n' % (_SAME % b".chunk", _TOKENS % (tokens, tokens + 7)))
    return _piece(_STOP_EVENT) + (told if usage else b"") + _piece(_DONE) + b"0\r\n\r\n"


def _json(body: bytes) -> bytes:
    return _HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Clock:
    """Gives every stream of one gap its next chunk at the same moment; without a gap as fast as the loop turns."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._streams: list[Iterator[None]] = []

    def add(self, stream: Iterator[None]) -> None:
        """Take a stream in; each step of it is a chunk."""
        if not self._streams:
            self._again()
        self._streams.append(stream)

    def _again(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._gap_s, self._tick) if self._gap_s else loop.call_soon(self._tick)

    def _tick(self) -> None:
        self._streams = [stream for stream in self._streams if next(stream, self) is None]
        if self._streams:
            self._again()


class Engine(asyncio.Protocol):
    """One connection; its requests come one after the other."""

    clocks: ClassVar[dict[int, Clock]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is not derived from it
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        """Bytes of the head and the body together; 0 while the head is not here."""

    def data_received(self, data: bytes) -> None:
        """Collect a request, and answer it."""
        self._parts.append(data)
        self._have += len(data)
        if not self._need:
            head, blank, rest = b"".join(self._parts).partition(b"\r\n\r\n")
            if not blank:
                return
            if _CHUNKED.search(head):
                if not rest.endswith(b"0\r\n\r\n"):
                    return
                self._need = self._have
            else:
                length = _LENGTH.search(head)
                self._need = len(head) + 4 + (int(length[1]) if length else 0)
        if self._have >= self._need:
            request = b"".join(self._parts)
            self._parts, self._have, self._need = [], 0, 0
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if not request.startswith(b"POST"):
            about = _ABOUT.get(request.split(b" ", 2)[1], {"status": "ok"})
            self._transport.write(_json(json.dumps(about).encode()))
            return
        asked = request if len(request) <= 2 * _EDGE else request[:_EDGE] + request[-_EDGE:]
        found = TASK.search(asked)
        tokens, think_ms, gap_ms = map(int, found.groups()) if found else (1, 0, 0)
        if _STREAM.search(asked):
            send = partial(self._begin, tokens, gap_ms, usage=_USAGE.search(asked) is not None)
        else:
            send = partial(self._transport.write, _answer(tokens))
        if think_ms:
            asyncio.get_running_loop().call_later(think_ms / 1000, send)
        else:
            send()

    def _begin(self, tokens: int, gap_ms: int, *, usage: bool) -> None:
        self._transport.write(_STREAM_HEAD + _CHUNK)
        clock = self.clocks.setdefault(gap_ms, Clock(gap_ms / 1000))
        clock.add(self._words(tokens, usage=usage))

    def _words(self, tokens: int, *, usage: bool) -> Iterator[None]:
        transport = self._transport
        for _ in range(tokens - 1):
            while transport.get_write_buffer_size() > _STUFFED:
                yield
            if transport.is_closing():
                return
            transport.write(_CHUNK)
            yield
        transport.write(_end(tokens, usage=usage))


async def serve(port: int, addresses: int) -> None:
    """Listen on so many of loopback's addresses, until the process is ended."""
    loop = asyncio.get_running_loop()
    for address in loopback(addresses):
        await loop.create_server(Engine, address, port, family=socket.AF_INET, backlog=4096)
    print("ready", flush=True)
    await loop.create_future()


def loopback(count: int) -> list[str]:
    """The first addresses of loopback: Linux answers on every one of 127.0.0.0/8."""
    return [f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count)]


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--addresses", type=int, default=1)
    told = parser.parse_args()
    import uvloop  # Ray Serve brings it

    uvloop.install()
    asyncio.run(serve(told.port, told.addresses))


if __name__ == "__main__":
    main()
