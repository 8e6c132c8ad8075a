"""Bodies that are larger than the gateway's own buffers: real HAProxy, both of them."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.core.bodies import CHAT, MIB, MOST, NAMES, PATH, Reader, Served, padded

from rayllm.serving.haproxy import large, reading
from rayllm.serving.haproxy.limits import BODY_IN_PLACE, HUGE_BODIES
from rayllm.serving.haproxy.view import KeyRule, ModelRoute


@pytest.fixture
def served(gateway: Any) -> Iterator[Served]:
    """The gateway of this page."""
    made = Served(gateway)
    yield made
    for engine in made.engines.values():
        engine.close()


@pytest.mark.parametrize("chunked", [0, 100_000])
@pytest.mark.parametrize("size", [BODY_IN_PLACE, BODY_IN_PLACE + 1, MIB, 20 * MIB, MOST - 1, MOST])
def test_a_body_of_any_size_reaches_its_model(served: Served, size: int, chunked: int) -> None:
    """Up to the limit, whole, whether its length is announced or not, the model at its very end."""
    body = padded(size)
    assert len(body) == size
    status, answer = served.ask(body, chunked=chunked)
    assert (status, answer["by"], answer["size"]) == (200, "a", size)
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("chunked", [0, 100_000])
def test_a_larger_body_is_refused_with_the_limit(served: Served, chunked: int) -> None:
    """413, whether its length is announced or not; a client that sends on regardless gets to read it, too."""
    status, answer = served.ask(padded(MOST + MIB), chunked=chunked)
    error = answer["error"]
    assert (status, error["code"], "64 MiB" in error["message"]) == (413, "body_too_large", True)
    assert not any(engine.body for engine in served.engines.values())


def test_a_large_request_is_logged_once(served: Served) -> None:
    """Where it is routed; one that is refused before, where it came in."""
    served.ask(padded(MIB))
    served.ask(padded(MIB, "other"))
    served.ask(b"[" + padded(MIB))
    served.ask(padded(MIB, "none"))
    served.gateway.until(lambda: len(served.lines()) >= 4)
    served.ask(padded(100))
    served.gateway.until(lambda: len(served.lines()) >= 5)
    assert [(line["name"].strip("-"), line["model"].strip("-"), line["status"]) for line in served.lines()] == [
        ("a", "a", 200),
        ("other", "b", 200),
        ("", "", 400),
        ("none", "", 404),
        ("a", "a", 200),
    ]


def test_a_key_is_good_for_large_bodies_too(gateway: Any, served: Served) -> None:
    """What it may use is known behind the process that reads them; its own headers are nobody else's."""
    key = KeyRule("one", (hashlib.sha256(b"secret").hexdigest().upper(),), names=("b",))
    gateway.haproxy.apply(replace(served.view, keys=(key,), keys_required=True))
    for size in (100, MIB):
        assert served.ask(padded(size, "b"))[0] == 401
        own = "two:0:0:0:*"
        assert (
            served.ask(padded(size, "b"), authorization="Bearer secret", x_rayllm_key="two", x_rayllm_rule=own)[0]
            == 200
        )
        assert (
            served.ask(padded(size, "a"), authorization="Bearer secret", x_rayllm_key="two", x_rayllm_rule=own)[0]
            == 404
        )
    served.gateway.until(lambda: len(served.lines()) >= 6)
    assert [line["key"].strip("-") for line in served.lines()] == ["", "one", "one"] * 2


@pytest.mark.parametrize("size", [1000, MIB, 9 * MIB])
def test_a_body_that_does_not_come_is_408(gateway: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """In its time, which is longer for a large one."""
    monkeypatch.setattr(reading, "BODY_IN_PLACE_S", 1)
    monkeypatch.setattr(large, "LARGE_BODY_S", 1)
    monkeypatch.setattr(large, "HUGE_BODY_S", 1)
    served = Served(gateway)
    connection = served.connection
    connection.putrequest("POST", PATH)
    connection.putheader("content-length", str(size))
    connection.endheaders(b'{"model": "a"')
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (408, "request_timeout")
    connection.close()
    served.gateway.until(served.lines)
    assert [line["status"] for line in served.lines()] == [408]


def test_a_large_body_is_asked_for(served: Served) -> None:
    """A client that waits to be told that it may send gets told."""
    body = padded(MIB)
    with socket.create_connection(("127.0.0.1", served.gateway.port), 10) as line:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
        line.sendall(head.encode())
        assert line.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert line.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_the_answer_to_a_large_body_comes_as_it_is_made(gateway: Any, upstream: Any) -> None:
    """The first chunk is there before the second one exists; a client that goes away ends its request."""
    engine = upstream("engine")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (engine.route,))))
    gateway.until((gateway.run_dir / "large.sock").exists)
    filler = "x" * MIB
    with gateway.open("POST", CHAT, {"messages": filler, "stream": True, "model": "a"}) as answer:
        assert answer.read1() == b"data: one\n\n"
        engine.gate.set()
        assert answer.read() == b"data: two\n\n"
    connection = gateway.connect()
    connection.request("POST", CHAT, json.dumps({"messages": filler, "slow": True, "model": "a"}))
    gateway.until(lambda: len(engine.seen) == 2)
    connection.close()
    assert engine.gone.wait(10)


def test_a_conversation_that_grows_keeps_its_replica(gateway: Any) -> None:
    """Also when it outgrows what is read in place."""
    engines = [Reader(name) for name in NAMES]
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", tuple(engine.route for engine in engines), "prefix")))
    gateway.until((gateway.run_dir / "large.sock").exists)
    replicas = []
    for number in range(12):
        turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": f"I am number {number}."}]
        longer = [*turns, {"role": "assistant", "content": "]}" * MIB}, {"role": "user", "content": "And now?"}]
        replicas.append(
            [gateway.ask("POST", PATH, {"messages": asked, "model": "a"})[1]["by"] for asked in (turns, longer)]
        )
    for engine in engines:
        engine.close()
    assert all(first == second for first, second in replicas)
    assert {first for first, _ in replicas} == set(NAMES)


def test_a_body_of_nothing_but_escapes_is_read(served: Served) -> None:
    """The slowest there is for its size; it takes its time, and is not given up."""
    body = b'{"messages": "' + b'\\"' * (10 * MIB) + b'", "model": "b"}'
    assert served.ask(body)[0] == 200


def test_many_large_bodies_at_once_stay_within_bounds(served: Served) -> None:
    """32 of 20 MB: few are in memory at a time, the others wait with the client."""
    for engine in served.engines.values():
        engine.keeps = False
    body = padded(20_000_000)

    def ask(_: int) -> int:
        with served.gateway.open("POST", PATH, body) as answer:
            return int(answer.status)

    with ThreadPoolExecutor(32) as clients:
        assert list(clients.map(ask, range(32))) == [200] * 32
    peaks = [peak_mib(pid) for pid in served.gateway.processes()]
    assert max(peaks) < 2 * HUGE_BODIES * 20 + 300, peaks
    assert sum(peaks) < 1000, peaks


def peak_mib(pid: int) -> int:
    """The most memory that a process has had resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024
