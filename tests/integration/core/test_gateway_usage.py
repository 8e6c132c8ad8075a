"""What is known of requests afterwards: tokens, times, the access log; real HAProxy, engines that write raw bytes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.integration.core.raw_engine import RawEngine, chunked, plain

from rayllm.serving.haproxy.limits import BODY_IN_PLACE
from rayllm.serving.haproxy.view import KeyRule, ModelRoute
from rayllm.serving.records.access_line import read_line
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


def lines(gateway: Any) -> list[dict[str, Any]]:
    """The access log."""
    return [json.loads(line) for line in gateway.access.read_text().splitlines()]


def usage_of(gateway: Any, number: int = 0) -> dict[str, Any]:
    """What the access log says of the tokens of a request, without its times."""
    gateway.until(lambda: len(lines(gateway)) > number)
    usage: dict[str, Any] = lines(gateway)[number]["usage"]
    return {name: value for name, value in usage.items() if not name.endswith("_us")}


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


@pytest.mark.parametrize(
    "asked",
    [{"n": 2}, {"logprobs": True}, {"prompt_logprobs": 0}, {"max_tokens": 100_000}, {"input": "x" * BODY_IN_PLACE}],
)
@pytest.mark.parametrize("behind", [0, 500, BODY_IN_PLACE])
def test_tokens_of_a_large_answer(served: Any, asked: dict[str, Any], behind: int) -> None:
    """Where the request lets one expect it, they are exact, wherever they stand and the bytes are cut."""
    gateway, raw = served
    gateway.until((gateway.run_dir / "large.sock").exists)
    body = b'{"choices":"%b",%b,"prompt_logprobs":"%b"}' % (b"x" * BODY_IN_PLACE, USAGE[20:-3], b"y" * behind)
    at = body.index(b'"usage"')
    cuts = range(at, at + 70, 10)
    for cut in cuts:
        raw.answer = lambda _, cut=cut: iter([plain(body)[: cut - len(body)], body[cut:]])
        assert gateway.open("POST", CHAT, {**asked, "model": "a"}).read() == body
    counted = {"prompt_tokens": 12, "completion_tokens": 3}
    assert [usage_of(gateway, number) for number, _ in enumerate(cuts)] == [counted] * len(cuts)


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (b'{"text":"%b"}' % (b"x" * BODY_IN_PLACE), b""),
        (b'{"text":"hi"}', b""),
        (b'{"text":"hi","usage":null}', b""),
        (gzip.compress(b"{%b}" % USAGE[20:-3], mtime=0), b"content-encoding: gzip\r\n"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, f"/models/a{CHAT}", "/v1/responses", "/v1/messages?x=/y"])
def test_no_answer_is_free(served: Any, path: str, body: bytes, more: bytes) -> None:
    """Where its tokens can't be known, it is told to be estimated, and by its length."""
    gateway, raw = served
    raw.answer = lambda _: iter([plain(body).replace(b"\r\n", b"\r\n" + more, 1)])
    assert gateway.open("POST", path, {"model": "a"}).read() == body
    assert usage_of(gateway) == {"estimated": True}
    counted = read_line(gateway.access.read_bytes())
    assert counted
    assert (counted.completion_tokens, counted.estimated) == (lines(gateway)[0]["sent"] // 4, True)


def test_an_answer_without_usage_has_none(served: Any) -> None:
    """Nothing is made up where nothing is generated, and errors have none."""
    gateway, raw = served
    raw.answer = lambda _: iter([plain(b'{"tokens":[1,2]}')])
    assert gateway.ask("POST", "/tokenize", {"model": "a"})[0] == 200
    assert gateway.ask("POST", CHAT, {"model": "b"})[0] == 404
    raw.answer = lambda _: iter([plain(b"{}").replace(b"200 OK", b"400 No")])
    assert gateway.ask("POST", CHAT, {"model": "a"})[0] == 400
    gateway.until(lambda: len(lines(gateway)) == 3)
    assert [line["usage"] for line in lines(gateway)] == [None, None, None]


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_client_sent_makes_no_answer_cheaper(served: Any, stream: bool) -> None:
    """Its own JSON comes back in an answer, before the tokens or behind them."""
    gateway, raw = served
    fake = {"usage": {"input_tokens": 0, "output_tokens": 10**20}}
    told = {"usage": {"input_tokens": 12, "output_tokens": 3}}
    body = json.dumps({"response": [{"tools": fake}, told, {"tools": fake}]}).encode()
    raw.answer = lambda _: iter([HEAD + chunked(b"data: " + body + b"\n\n") if stream else plain(body)])
    gateway.open("POST", "/v1/responses", {"model": "a", "stream": stream}).read()
    assert usage_of(gateway).items() >= {"prompt_tokens": 12, "completion_tokens": 3}.items()


YES = ["1", "1.0", "1e0", '"true"', '"T"', '"on"', '"Yes"', '"y"', '"1"', '"\\u0074rue"', "2"]
NO = ["false", "null", "0", "0.0", "-0", '"off"', '"No"', '"F"', '"n"', '"0"', '"FALSE"']


@pytest.mark.parametrize("value", YES)
def test_a_stream_is_what_an_engine_takes_for_one(served: Any, value: str) -> None:
    """Their words for yes are more than JSON's: none of them is a way around the count."""
    gateway, raw = served
    raw.answer = lambda _: iter([HEAD, chunked(TOKEN, USAGE, DONE)])
    body = b'{"model": "a", "messages": [], "stream": %b}' % value.encode()
    with gateway.open("POST", CHAT, body) as answer:
        assert answer.read() == TOKEN + DONE
    assert json.loads(raw.bodies[0])["stream_options"] == {"include_usage": True}
    assert usage_of(gateway) == {"prompt_tokens": 12, "completion_tokens": 3, "events": 3}


@pytest.mark.parametrize("value", NO)
def test_no_stream_is_what_an_engine_takes_for_none(served: Any, value: str) -> None:
    """It would refuse to be asked for the usage of a stream."""
    gateway, raw = served
    raw.answer = lambda _: iter([plain(b'{"usage": {"prompt_tokens": 1, "completion_tokens": 2}}')])
    body = b'{"model": "a", "messages": [], "stream": %b}' % value.encode()
    assert gateway.ask("POST", CHAT, body)[0] == 200
    assert raw.bodies == [body]
    assert usage_of(gateway) == {"prompt_tokens": 1, "completion_tokens": 2}


@pytest.mark.parametrize(("value", "events"), [("true", 2), ("1", 2), ("On", 2), ("t", 2)])
def test_the_stream_of_a_form(served: Any, value: str, events: int) -> None:
    """Told by a field; its events are counted."""
    gateway, raw = served
    raw.answer = lambda _: iter([HEAD, chunked(TOKEN, DONE)])
    fields = {"model": "a", "stream": value}
    form = "".join(f'--x\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    kind = "multipart/form-data; boundary=x"
    gateway.open("POST", "/v1/audio/transcriptions", f"{form}--x--".encode(), content_type=kind).read()
    assert usage_of(gateway)["completion_tokens"] == events
    assert raw.bodies == [f"{form}--x--".encode()]


@pytest.mark.parametrize("more", [{}, {"model": "a"}, {"model": ""}, {"model": ["b"]}])
def test_a_stream_by_path_is_asked_for_its_usage(served: Any, more: dict[str, Any]) -> None:
    """The path tells the model, whatever the body says of it."""
    gateway, raw = served
    raw.answer = lambda _: iter([HEAD, chunked(TOKEN, USAGE, DONE)])
    body = {"messages": [], **more, "stream": True}
    with gateway.open("POST", f"/models/a{CHAT}", body) as answer:
        assert answer.read() == TOKEN + DONE
    assert json.loads(raw.bodies[0]) == {"stream_options": {"include_usage": True}, **body}
    assert usage_of(gateway) == {"prompt_tokens": 12, "completion_tokens": 3, "events": 3}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"no JSON", b'{"stream": true', b'{"x": "' + b"x" * BODY_IN_PLACE + b'"}']
)
def test_a_body_by_path_may_be_anything(served: Any, body: bytes) -> None:
    """What can't be read, or is too large for it, goes on as it is; a stream is counted by its events."""
    gateway, raw = served
    raw.answer = lambda _: iter([HEAD, chunked(TOKEN, DONE)])
    with gateway.open("POST", f"/models/a{CHAT}", body) as answer:
        assert answer.read() == TOKEN + DONE
    assert raw.bodies == [body]
    assert usage_of(gateway) == {"prompt_tokens": 0, "completion_tokens": 2, "estimated": True, "events": 2}


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
    assert re.fullmatch(r"gateway;dur=\d+\.\d{3}, queue;dur=\d+, connect;dur=\d+, engine;dur=\d+", timing)
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
        "adapter": "-",
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
