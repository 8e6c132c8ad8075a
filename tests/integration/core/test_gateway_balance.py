"""Which replica is next, and what happens when there is room at none: real HAProxy, engines of the standard library."""

from __future__ import annotations

import json
import time
from collections import Counter
from http.client import HTTPConnection
from typing import Any

import pytest

from rayllm.serving.haproxy.places import RUNTIME_SOCKET
from rayllm.serving.haproxy.sockets import ask
from rayllm.serving.haproxy.view import ModelRoute
from rayllm.serving.spec import Balance

CHAT = "/v1/chat/completions"
PLAIN = {"model": "a"}
HELD = {"model": "a", "stream": True}


def chat(start: str, **more: object) -> dict[str, object]:
    """A conversation that begins this way."""
    return {"messages": [{"role": "user", "content": start}], "model": "a", **more}


def route(engines: list[Any], balance: Balance) -> ModelRoute:
    """One model with these replicas."""
    return ModelRoute("a", "k", tuple(engine.route for engine in engines), balance)


def total(gateway: Any, figure: str) -> int:
    """The sum of a figure of the model `a`, as HAProxy itself counts it."""
    lines = ask(gateway.run_dir, RUNTIME_SOCKET, "show stat").splitlines()
    names = lines[0].lstrip("# ").split(",")
    rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
    return sum(int(row[figure] or 0) for row in rows if row["pxname"] == "model:a")


def by(gateway: Any, path: str, body: object, **headers: str) -> str:
    """Who answers, asked when nothing else is in flight: else that counts, too."""
    answered: str = gateway.ask("POST", path, body, **headers)[1]["by"]
    gateway.until(lambda: total(gateway, "scur") == 0)
    return answered


def homes(gateway: Any, balance: Balance, count: int) -> dict[str, str]:
    """Who answers each of many conversations, or sessions."""
    if balance == "prefix":
        return {f"c{n}": by(gateway, CHAT, chat(f"c{n}")) for n in range(count)}
    return {f"s{n}": by(gateway, CHAT, PLAIN, x_session_id=f"s{n}") for n in range(count)}


def held(gateway: Any, body: object = HELD, **headers: str) -> HTTPConnection:
    """A request that is sent; its answer is not waited for."""
    connection: HTTPConnection = gateway.connect()
    connection.request(
        "POST", CHAT, json.dumps(body), {name.replace("_", "-"): value for name, value in headers.items()}
    )
    return connection


@pytest.mark.parametrize("balance", ["session", "prefix"])
def test_the_same_one_stays_with_its_replica(gateway: Any, upstream: Any, balance: Balance) -> None:
    """Each replica gets a share; one that comes or goes takes or leaves its own share and moves nobody else."""
    three = [upstream(f"r{number}") for number in range(3)]
    gateway.haproxy.start(gateway.view(route(three, balance)))
    before = homes(gateway, balance, 60)
    assert homes(gateway, balance, 60) == before
    assert min(Counter(before.values()).values()) >= 5
    gateway.haproxy.apply(gateway.view(route(three[1:], balance)))
    without = homes(gateway, balance, 60)
    assert {name for name in before if before[name] != without[name]} == {
        name for name in before if before[name] == "r0"
    }
    gateway.haproxy.apply(gateway.view(route(three, balance)))
    assert homes(gateway, balance, 60) == before


@pytest.mark.parametrize("balance", ["session", "prefix"])
def test_a_hot_one_spills_over(gateway: Any, upstream: Any, balance: Balance) -> None:
    """A beginning that many share at once does not keep one replica busy while the others are idle."""
    engines = [upstream(f"r{number}") for number in range(3)]
    gateway.haproxy.start(gateway.view(route(engines, balance)))
    for _ in range(12):
        held(gateway, chat("hot", stream=True), x_session_id="hot")
    gateway.until(lambda: sum(len(engine.seen) for engine in engines) == 12)
    assert 5 <= max(len(engine.seen) for engine in engines) <= 9  # more than the others, about twice the average


def test_a_session_without_a_name_goes_by_its_beginning(gateway: Any, upstream: Any) -> None:
    """The same as `prefix`; what is no conversation goes to all."""
    engines = [upstream(f"r{number}") for number in range(3)]
    gateway.haproxy.start(gateway.view(route(engines, "session")))
    assert len({by(gateway, CHAT, chat("hello")) for _ in range(6)}) == 1
    assert len({by(gateway, "/v1/score", PLAIN) for _ in range(40)}) == 3


def bounded(gateway: Any, upstream: Any, max_queue: int = 1024) -> Any:
    """A gateway with one replica that takes one request at a time; its engine."""
    engine = upstream("r0")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", (engine.route,), max_ongoing=1, max_queue=max_queue)))
    return engine


def test_a_full_queue_turns_away(gateway: Any, upstream: Any) -> None:
    """One in the engine, two wait, the next is told when to come again; those that wait are answered in the end."""
    engine = bounded(gateway, upstream, max_queue=2)
    first = held(gateway)
    gateway.until(lambda: engine.seen)
    waiting = [held(gateway, PLAIN) for _ in range(2)]
    gateway.until(lambda: total(gateway, "qcur") == 2)
    with gateway.open("POST", CHAT, PLAIN) as answer:
        error = json.load(answer)["error"]
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        assert (error["code"], error["type"]) == ("overloaded", "invalid_request_error")
        assert error["message"] == "too many requests wait for the model a"
    assert len(engine.seen) == 1
    engine.gate.set()
    assert first.getresponse().read() == b"data: one\n\ndata: two\n\n"
    assert [json.load(connection.getresponse())["by"] for connection in waiting] == ["r0", "r0"]


def test_no_queue_at_all(gateway: Any, upstream: Any) -> None:
    """With `max_queue: 0` a request is answered while a replica has room, and turned away while none has."""
    engine = bounded(gateway, upstream, max_queue=0)
    assert gateway.ask("POST", CHAT, PLAIN)[0] == 200
    gateway.until(lambda: total(gateway, "scur") == 0)  # what was answered counts for a moment more
    first = held(gateway)
    gateway.until(lambda: len(engine.seen) == 2)
    assert gateway.ask("POST", CHAT, PLAIN)[0] == 429
    engine.gate.set()
    first.getresponse().read()
    gateway.until(lambda: gateway.ask("POST", CHAT, PLAIN)[0] == 200)


def test_a_client_that_goes_leaves_the_queue(gateway: Any, upstream: Any) -> None:
    """Its place is free at once, and the engine never hears of it."""
    engine = bounded(gateway, upstream, max_queue=1)
    first = held(gateway)
    gateway.until(lambda: engine.seen)
    waiting = held(gateway, PLAIN)
    gateway.until(lambda: total(gateway, "qcur") == 1)
    waiting.close()
    gateway.until(lambda: total(gateway, "qcur") == 0)
    engine.gate.set()
    first.getresponse().read()
    assert gateway.ask("POST", CHAT, {"model": "a", "last": 1})[0] == 200
    assert [json.loads(seen.body).get("last") for seen in engine.seen] == [None, 1]


def test_waiting_has_an_end(gateway: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waits too long is told that, and when to come again; the engine never hears of it."""
    monkeypatch.setattr("rayllm.serving.haproxy.config.QUEUE_S", 1)
    engine = bounded(gateway, upstream)
    held(gateway)
    gateway.until(lambda: engine.seen)
    began = time.monotonic()
    with gateway.open("POST", CHAT, PLAIN) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert json.load(answer)["error"]["code"] == "service_unavailable"
    assert time.monotonic() - began < 5
    assert len(engine.seen) == 1


def test_waiting_for_a_model_that_sleeps_is_bounded(gateway: Any, upstream: Any) -> None:
    """What Serve holds until a replica wakes up counts as requests in flight."""
    serve = upstream("serve")
    gateway.serve_port = serve.server_port
    gateway.haproxy.start(gateway.view(ModelRoute("a", "k", max_ongoing=2, max_queue=1)))
    for _ in range(2):
        held(gateway)
    gateway.until(lambda: len(serve.seen) == 2)
    held(gateway, PLAIN)
    gateway.until(lambda: total(gateway, "qcur") == 1)
    assert gateway.ask("POST", CHAT, PLAIN)[0] == 429
    assert len(serve.seen) == 2
