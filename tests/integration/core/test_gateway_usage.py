"""What is known of requests afterwards: tokens, times, the access log; real HAProxy, engines that write raw bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from rayllm.serving.haproxy.view import KeyRule, ModelRoute, Upstream
from rayllm.serving.records.ledger import Ledger

CHAT = "/v1/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"usage\\":[] "}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"total_tokens":15,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
ANTHROPIC = (
    b'event: message_start\ndata: {"message":{"usage":{"input_tokens":12,"output_tokens":1}}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"hi"}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":3}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)


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


@pytest.fixture
def raw() -> Iterator[RawEngine]:
    """An engine that writes what it is told."""
    engine = RawEngine()
    yield engine
    engine.listener.shutdown(socket.SHUT_RDWR)  # ends the thread that waits in it: it would go on taking connections
    engine.listener.close()


@pytest.fixture
def served(gateway: Any, raw: RawEngine) -> tuple[Any, RawEngine]:
    """A gateway with the model `a` before it."""
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (raw.route,))))
    return gateway, raw


def chunked(*parts: bytes) -> bytes:
    """Parts of a body that say their length, and its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def lines(gateway: Any) -> list[dict[str, Any]]:
    """The access log."""
    return [json.loads(line) for line in gateway.access.read_text().splitlines()]


def usage_of(gateway: Any, number: int = 0) -> dict[str, Any]:
    """What the access log says of the tokens of a request, without its times."""
    gateway.until(lambda: len(lines(gateway)) > number)
    usage: dict[str, Any] = lines(gateway)[number]["usage"]
    return {name: value for name, value in usage.items() if not name.endswith("_us")}


def plain(body: bytes) -> bytes:
    """A JSON answer."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    ("path", "usage", "counted"),
    [
        (
            CHAT,
            {"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}},
            (12, 3, 8),
        ),
        ("/v1/embeddings", {"prompt_tokens": 12, "total_tokens": 12}, (12, 0, None)),
        ("/v1/responses", {"input_tokens": 12, "output_tokens": 3}, (12, 3, None)),
        ("/v1/messages", {"input_tokens": 12, "cache_read_input_tokens": 4, "output_tokens": 3}, (12, 3, 4)),
    ],
)
def test_tokens_of_an_answer(
    served: Any, path: str, usage: dict[str, Any], counted: tuple[int, int, int | None]
) -> None:
    """As each API tells them; of a large answer where it is one that may be large."""
    gateway, raw = served
    size = 400_000 if path == "/v1/embeddings" else 1
    body = json.dumps({"content": 'usage":' + "x" * size, "usage": usage}).encode()
    raw.answer = lambda _: iter([plain(body)])
    assert gateway.open("POST", path, {"model": "a"}).read() == body
    wanted = {"prompt_tokens": counted[0], "completion_tokens": counted[1], "cached_tokens": counted[2]}
    assert usage_of(gateway) == {name: value for name, value in wanted.items() if value is not None}


def test_an_answer_without_usage_has_none(served: Any) -> None:
    """Nothing is made up, and errors have none."""
    gateway, raw = served
    raw.answer = lambda _: iter([plain(b'{"tokens":[1,2]}')])
    assert gateway.ask("POST", "/tokenize", {"model": "a"})[0] == 200
    assert gateway.ask("POST", CHAT, {"model": "b"})[0] == 404
    gateway.until(lambda: len(lines(gateway)) == 2)
    assert [line["usage"] for line in lines(gateway)] == [None, None]


def test_a_stream_is_asked_for_its_usage(served: Any) -> None:
    """The engine is asked, the client sees what it would have seen, wherever the bytes are cut."""
    gateway, raw = served
    stream = chunked(TOKEN + TOKEN, TOKEN, USAGE + DONE)
    cuts = range(0, len(stream), 3)
    for cut in cuts:
        raw.answer = lambda _, cut=cut: iter([HEAD, stream[:cut], stream[cut:]])
        with gateway.open("POST", CHAT, {"messages": [], "model": "a", "stream": True}) as answer:
            assert answer.read() == TOKEN * 3 + DONE
    assert json.loads(raw.bodies[0])["stream_options"] == {"include_usage": True}
    gateway.until(lambda: len(lines(gateway)) == len(cuts))
    assert {json.dumps(usage_of(gateway, number)) for number in range(len(cuts))} == {
        json.dumps({"prompt_tokens": 12, "completion_tokens": 3, "events": 5})
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_client_that_asks_for_usage_gets_it(served: Any, end: str) -> None:
    """Its body and its stream pass unchanged, byte by byte, with either line ends."""
    gateway, raw = served
    stream = (TOKEN * 3 + USAGE + DONE).replace(b"\n", end.encode())
    raw.answer = lambda _: iter([HEAD, *(b"1\r\n%c\r\n" % byte for byte in stream), b"0\r\n\r\n"])
    asked = {"messages": [], "stream_options": {"include_usage": True}, "model": "a", "stream": True}
    with gateway.open("POST", CHAT, asked) as answer:
        assert answer.read() == stream
    assert json.loads(raw.bodies[0]) == asked
    assert usage_of(gateway) == {"prompt_tokens": 12, "completion_tokens": 3, "events": 5}


def test_anthropics_streams(served: Any) -> None:
    """The prompt's tokens stand in the first event, the answer's in the last but one; nothing is asked for."""
    gateway, raw = served
    raw.answer = lambda _: iter([HEAD, *(chunked(event)[:-5] for event in ANTHROPIC), b"0\r\n\r\n"])
    asked = {"messages": [], "model": "a", "stream": True}
    with gateway.open("POST", "/v1/messages", asked) as answer:
        assert answer.read() == b"".join(ANTHROPIC)
    assert json.loads(raw.bodies[0]) == asked
    assert usage_of(gateway) == {"prompt_tokens": 12, "completion_tokens": 3, "events": 4}


def test_an_engine_that_ignores_the_question(served: Any) -> None:
    """Its events are counted, and said to be an estimate."""
    gateway, raw = served
    raw.answer = lambda _: iter([HEAD, chunked(TOKEN, TOKEN)])
    with gateway.open("POST", CHAT, {"messages": [], "model": "a", "stream": True}) as answer:
        assert answer.read() == TOKEN * 2
    assert usage_of(gateway) == {"prompt_tokens": 0, "completion_tokens": 2, "estimated": True, "events": 2}


@pytest.mark.parametrize("tail", [b"", b"data: {", b"data: [DONE]\n"])
@pytest.mark.parametrize("cut", [False, True])
def test_an_end_that_is_none_comes_through(served: Any, tail: bytes, cut: bool) -> None:
    """Whatever an engine has sent last is passed on, be it half an event, and a stream that is cut ends at once."""
    gateway, raw = served
    parts = [HEAD, *(chunked(part)[:-5] for part in (TOKEN, tail) if part), None if cut else b"0\r\n\r\n"]
    raw.answer = lambda _: iter(parts)
    with gateway.open("POST", CHAT, {"messages": [], "model": "a", "stream": True}) as answer:
        got = b""
        try:
            while part := answer.read1(1000):
                got += part
        except (OSError, HTTPException):
            assert cut
    assert got == TOKEN + tail
    assert usage_of(gateway)["events"] == 1


def test_no_event_waits_for_the_next(served: Any) -> None:
    """Each is passed on when it is there."""
    gateway, raw = served
    go = threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        yield HEAD + chunked(TOKEN)[:-5]
        assert go.wait(10)
        yield chunked(USAGE, DONE)

    raw.answer = answer
    with gateway.open("POST", CHAT, {"messages": [], "model": "a", "stream": True}) as stream:
        assert stream.read1(1000) == TOKEN
        go.set()
        assert stream.read() == DONE
    told = lines(gateway)[0]["usage"] if usage_of(gateway) else {}
    assert told["first_us"] > 0
    assert told["stream_us"] > 0


def test_a_client_that_goes_away_has_used_what_came(served: Any) -> None:
    """The engine can't tell any more: the parts are counted."""
    gateway, raw = served
    go = threading.Event()

    def answer(_: bytes) -> Iterator[bytes]:
        yield HEAD + chunked(TOKEN)[:-5]
        go.wait(10)

    raw.answer = answer
    with gateway.open("POST", CHAT, {"messages": [], "model": "a", "stream": True}) as stream:
        assert stream.read1(1000) == TOKEN
        gateway.connections[-1].close()
        stream.close()
    go.set()
    assert usage_of(gateway) == {"prompt_tokens": 0, "completion_tokens": 1, "estimated": True, "events": 1}


def test_the_access_log(gateway: Any, raw: RawEngine) -> None:
    """Who asked for what, how it ended and how long each part took; nothing of bodies, queries, headers and keys."""
    digest = hashlib.sha256(b"hidden-key").hexdigest().upper()
    view = replace(gateway.view(ModelRoute("a", "k", (raw.route,))), keys=(KeyRule("team", (digest,)),))
    gateway.haproxy.start(view)
    raw.answer = lambda _: iter([plain(b'{"hidden": 1, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}')])
    headers = {"authorization": "Bearer hidden-key", "x_request_id": 'my"id', "x_other": "hidden"}
    with gateway.open("POST", CHAT + "?hidden=1", {"model": "a", "hidden": 2}, **headers) as answer:
        timing, _ = answer.headers["server-timing"], answer.read()
    assert re.fullmatch(r"queue;dur=\d+, connect;dur=\d+, engine;dur=\d+", timing)
    assert gateway.ask("POST", CHAT, {"model": "hidden-name"}, authorization="Bearer hidden-other")[0] == 404
    gateway.until(lambda: len(lines(gateway)) == 2)
    line = lines(gateway)[0]
    wanted = {
        "id": 'my"id',
        "key": "team",
        "method": "POST",
        "path": CHAT,
        "name": "a",
        "model": "a",
        "replica": "raw",
        "status": 200,
        "state": "--",
        "retries": "0",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    assert {name: line[name] for name in wanted} == wanted
    assert line.keys() - wanted.keys() == {
        "end",
        "queue_ms",
        "connect_ms",
        "first_ms",
        "total_ms",
        "received",
        "sent",
    }
    text = gateway.access.read_text() + gateway.log.read_text()
    assert set(re.findall("hidden[a-z-]*", text)) == {"hidden-name"}
    assert gateway.access.stat().st_mode & 0o077 == 0


def test_kill_9_of_haproxy_loses_no_usage(served: Any, tmp_path: Path) -> None:
    """Each request that was answered is counted once, whoever reads and whoever is killed."""
    gateway, raw = served
    raw.answer = lambda _: iter([plain(b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}')])
    for number in range(1, 4):
        for _ in range(20):
            assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 200
        ledger = Ledger(gateway.access, tmp_path / "records.sqlite")
        ledger.fold()
        gateway.until(
            lambda number=number, ledger=ledger: ledger.fold() or ledger.usage(0, 1e11)[0].requests == 20 * number
        )
        ledger.close()
        before = gateway.processes()
        os.kill(max(before), signal.SIGKILL)
        gateway.until(lambda before=before: max(before) not in gateway.processes())
        gateway.until(lambda: _answers(gateway))
    ledger = Ledger(gateway.access, tmp_path / "records.sqlite")
    row = ledger.usage(0, 1e11)[0]
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (60, 60, 120)
    ledger.close()


def _answers(gateway: Any) -> bool:
    """Whether a worker answers: that the port is open may be a master's doing, which is about to end."""
    try:
        return bool(gateway.open("GET", "/health").status == 200)
    except OSError:
        return False
