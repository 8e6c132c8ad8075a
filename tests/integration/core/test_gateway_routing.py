"""Which engine gets a request, and how it gets there: real HAProxy, engines of the standard library."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from rayllm.serving.haproxy.view import ModelRoute

CHAT = "/v1/chat/completions"


def chat(model: str, **more: object) -> dict[str, object]:
    """A body with the model behind the messages, one of which has a model of its own."""
    return {"messages": [{"role": "user", "content": '{"model": "other"}', "model": "inner"}], "model": model, **more}


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings?x=1", "/tokenize", "/rerank"])
def test_the_body_names_the_model(gateway: Any, upstream: Any, path: str) -> None:
    """A request reaches the engine of its model, unchanged."""
    a, b = upstream("a1"), upstream("b1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route,)), ModelRoute("b.2-x_Y", "kb", (b.route,))))
    body = json.dumps(chat("b.2-x_Y"), indent=3).encode()
    assert gateway.ask("POST", path, body) == (200, {"by": "b1", "model": "b.2-x_Y"})
    (seen,) = b.seen
    assert (seen.path, seen.body) == (path, body)
    assert not a.seen


def test_the_engine_never_sees_more_than_was_sent(gateway: Any, upstream: Any) -> None:
    """The headers that come in on the way are the request's id and the model; a key that was sent is gone."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route,))))
    gateway.ask("POST", CHAT, chat("a"), x_rayllm_internal_key="ka", x_api_key="mine", authorization="Bearer mine")
    sent = {"host", "accept-encoding", "content-length"}
    assert {name.lower() for name in a.seen[0].headers} == sent | {"x-request-id", "x-rayllm-model"}


def test_a_stream_arrives_chunk_by_chunk(gateway: Any, upstream: Any) -> None:
    """The first chunk is here while the engine still works on the second."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route,))))
    answer = gateway.open("POST", CHAT, chat("a", stream=True), accept_encoding="gzip")
    assert answer.read1(100) == b"data: one\n\n"
    a.gate.set()
    assert answer.read() == b"data: two\n\n"
    assert answer.headers["content-type"] == "text/event-stream"


def test_a_client_that_goes_ends_the_request(gateway: Any, upstream: Any) -> None:
    """The engine learns at once that nobody waits any more."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route,))))
    connection = gateway.connect()
    connection.request("POST", CHAT, json.dumps(chat("a", slow=True)))
    gateway.until(lambda: a.seen)
    connection.close()
    assert a.gone.wait(10)


def test_the_least_busy_replica_is_next(gateway: Any, upstream: Any) -> None:
    """A replica with a stream under way is left alone while another is idle."""
    a, b = upstream("a1"), upstream("a2")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route, b.route))))
    with gateway.open("POST", CHAT, chat("a", stream=True)) as stream:
        busy, idle = (a, b) if a.seen else (b, a)
        answered = [gateway.ask("POST", CHAT, chat("a"))[1]["by"] for _ in range(20)]
        assert answered.count(idle.name) > 15  # the one before may still be counted when the next comes
        busy.gate.set()
        stream.read()


def test_a_replica_that_is_gone_is_left_out(gateway: Any, upstream: Any) -> None:
    """Every request after its end is answered by the other one, none fails."""
    a, b = upstream("a1"), upstream("a2")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route, b.route))))
    a.kill()
    assert [gateway.ask("POST", CHAT, chat("a")) for _ in range(4)] == [(200, {"by": "a2", "model": "a"})] * 4


@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_without_a_replica_serve_is_asked(gateway: Any, upstream: Any, replicas: int) -> None:
    """Serve's proxy gets the request under the model's prefix, with its key and not with a forged one."""
    gone = [upstream(f"a{number}") for number in range(replicas)]
    serve = upstream("serve")
    gateway.serve_port = serve.server_port
    gateway.haproxy.start(
        gateway.view(ModelRoute("a", "ka", tuple(each.route for each in gone)), ModelRoute("b", "kb"))
    )
    for each in gone:
        each.kill()
    forged = {"x_rayllm_internal_key": "kb"}
    assert gateway.ask("POST", f"{CHAT}?q=1", chat("a"), **forged) == (200, {"by": "serve", "model": "a"})
    (seen,) = serve.seen
    assert seen.path == f"/{gateway.deployment}/models/a{CHAT}?q=1"
    assert seen.headers.get_all("x-rayllm-internal-key") == ["ka"]


def test_a_request_that_was_sent_is_not_sent_again(gateway: Any, upstream: Any) -> None:
    """An engine that breaks off may have done the work: 502, and nobody else is asked."""
    a, b, serve = upstream("a1"), upstream("a2"), upstream("serve")
    a.breaks_off = b.breaks_off = True
    gateway.serve_port = serve.server_port
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route, b.route))))
    status, answer = gateway.ask("POST", CHAT, chat("a"))
    assert (status, answer["error"]["code"]) == (502, "bad_gateway")
    assert len(a.seen + b.seen + serve.seen) == 1


@pytest.mark.parametrize(("size", "least_ms"), [(10, 0.0), (1_000_000, 0.001)])
def test_the_gateways_own_time(gateway: Any, upstream: Any, size: int, least_ms: float) -> None:
    """In milliseconds with a fraction, and never more than the client waits: that of a large body is seen."""
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (upstream("a1").route,))))
    began = time.perf_counter()
    with gateway.open("POST", CHAT, chat("a", prompt="x" * size)) as answer:
        answer.read()
    waited_ms = 1000 * (time.perf_counter() - began)
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(timing) == ["gateway", "queue", "connect", "engine"]
    assert least_ms <= float(timing["gateway"]) <= waited_ms


@pytest.mark.parametrize("forged", ["1", "x"])
def test_a_clients_own_beginning_is_none(gateway: Any, upstream: Any, forged: str) -> None:
    """The header that a large body takes along is the gateway's alone, and no engine sees it."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route,))))
    for size in (10, 300_000):
        with gateway.open("POST", CHAT, chat("a", prompt="x" * size), x_rayllm_began=forged) as answer:
            answer.read()
        assert float(answer.headers["server-timing"].partition("dur=")[2].partition(",")[0]) < 60_000
    assert not [seen for seen in a.seen if "x-rayllm-began" in seen.headers]


def test_the_request_id_is_kept_or_made(gateway: Any, upstream: Any) -> None:
    """The engine and the client see the same one; what could not stand in a log line is replaced."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(ModelRoute("a", "ka", (a.route,))))
    ids = []
    for sent in ("mine-1", None, "not one word", "x" * 129):
        with gateway.open("POST", CHAT, chat("a"), **({"x_request_id": sent} if sent else {})) as answer:
            answer.read()
            ids.append(answer.headers["x-request-id"])
    assert [seen.headers["x-request-id"] for seen in a.seen] == ids
    assert ids[0] == "mine-1"
    assert all(len(made) == 36 for made in ids[1:])
