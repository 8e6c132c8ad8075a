"""From what a client calls a model to who answers: aliases, splits, fallbacks, adapters, paths, lists by key."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from rayllm.engines import OPENAI_ENDPOINTS
from rayllm.serving.haproxy.view import AdapterRoute, Alias, KeyRule, ModelRoute, Upstream
from rayllm.serving.records.access_line import read_line

CHAT = "/v1/chat/completions"


def ask(gateway: Any, model: str, **more: object) -> tuple[int, Any]:
    """One request for a model by the name in its body."""
    answer: tuple[int, Any] = gateway.ask("POST", CHAT, {"messages": [], "model": model, **more})
    return answer


def route(name: str, *engines: Any, fallback: str | None = None, adapters: tuple[AdapterRoute, ...] = ()) -> ModelRoute:
    """A model with its replicas."""
    return ModelRoute(name, "k", tuple(engine.route for engine in engines), fallback=fallback, adapters=adapters)


def test_an_alias_is_another_name(gateway: Any, upstream: Any) -> None:
    """The engine, which does not know it, sees its own."""
    a = upstream("a1")
    gateway.haproxy.start(replace(gateway.view(route("a", a)), aliases=(Alias("gpt-4o", (("a", 1),)),)))
    assert ask(gateway, "gpt-4o") == (200, {"by": "a1", "model": "a"})
    assert json.loads(a.seen[0].body) == {"messages": [], "model": "a"}


def test_an_adapter_keeps_its_name(gateway: Any, upstream: Any) -> None:
    """The engine knows it; a model that answers instead does not, and sees its own."""
    a, b = upstream("a1"), upstream("b1")
    routes = (route("a", a, fallback="b", adapters=(AdapterRoute("sql", "sql"),)), route("b", b))
    gateway.haproxy.start(replace(gateway.view(*routes), aliases=(Alias("best", (("a", 1),)),)))
    assert ask(gateway, "sql") == (200, {"by": "a1", "model": "sql"})
    a.kill()
    gateway.until(lambda: ask(gateway, "a")[1].get("by") == "b1")
    assert ask(gateway, "sql") == ask(gateway, "best") == (200, {"by": "b1", "model": "b"})


def test_an_adapter_gets_the_name_that_its_engine_knows(gateway: Any, upstream: Any) -> None:
    """The list tells whose it is; the log and the usage count it by its own name."""
    sql = AdapterRoute("sql", "a:sql")
    gateway.haproxy.start(gateway.view(route("a", upstream("a1"), adapters=(sql,))))
    assert ask(gateway, "sql") == (200, {"by": "a1", "model": "a:sql"})
    assert ask(gateway, "a") == (200, {"by": "a1", "model": "a"})
    assert ask(gateway, "a:sql")[0] == 404
    entry = {"object": "model", "created": 0, "owned_by": "rayllm"}
    listed = {"id": "sql", **entry, "root": "a", "parent": "a"}
    assert gateway.ask("GET", "/v1/models")[1]["data"] == [{"id": "a", **entry}, listed]
    assert gateway.ask("GET", "/v1/models/sql")[1] == listed

    def counted() -> bool:
        lines = gateway.access.read_bytes().splitlines()
        return [line.model for raw in lines if (line := read_line(raw)) and line.status == 200][:2] == ["sql", "a"]

    gateway.until(counted)


def test_an_adapter_is_asked_where_it_is(gateway: Any, upstream: Any) -> None:
    """Of two replicas the one that has it; where no one has, the client is told to come again; no reload for either."""
    engines = upstream("a1"), upstream("a2")

    def view(*holders: str) -> Any:
        return gateway.view(route("a", *engines, adapters=(AdapterRoute("sql", "sql", holders),)))

    gateway.haproxy.start(view())
    before = gateway.haproxies()
    with gateway.open("POST", CHAT, {"model": "sql"}) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "no replica of the model a has the adapter sql" in json.loads(answer.read())["error"]["message"]
    gateway.haproxy.apply(view("a2"))
    assert {ask(gateway, "sql")[1]["by"] for _ in range(20)} == {"a2"}
    assert {ask(gateway, "a")[1]["by"] for _ in range(20)} == {"a1", "a2"}
    gateway.haproxy.apply(gateway.view(route("a", *engines, adapters=(AdapterRoute("sql", "sql"),))))
    gateway.until(lambda: {ask(gateway, "sql")[1]["by"] for _ in range(20)} == {"a1", "a2"})
    assert gateway.haproxies() == before


def test_an_adapter_is_for_some_endpoints_alone(gateway: Any, upstream: Any) -> None:
    """Where the engine would answer by the model without a word, the gateway refuses; the model itself is asked."""
    only = replace(route("a", upstream("a1"), adapters=(AdapterRoute("sql", "sql"),)), adapter_endpoints=(CHAT,))
    gateway.haproxy.start(gateway.view(only))
    assert ask(gateway, "sql")[0] == 200
    status, said = gateway.ask("POST", "/v1/responses", {"model": "sql", "input": "hi"})
    assert (status, said["error"]["code"]) == (404, "not_found")
    assert said["error"]["message"].endswith("/v1/responses by the model alone, not by its adapter sql")
    assert gateway.ask("POST", "/v1/responses", {"model": "a", "input": "hi"})[0] == 200
    status, said = gateway.ask("POST", f"/models/sql{CHAT}", {"messages": []})
    assert (status, said["error"]["code"]) == (400, "adapter_in_path")


def test_a_key_for_a_model_is_none_for_its_adapter(gateway: Any, upstream: Any) -> None:
    """Each is a name of its own."""
    sql = route("a", upstream("a1"), adapters=(AdapterRoute("sql", "sql"),))
    key = KeyRule(id="me", digests=(hashlib.sha256(b"k").hexdigest().upper(),), names=("a",))
    gateway.haproxy.start(replace(gateway.view(sql), keys=(key,), keys_required=True))
    assert gateway.ask("POST", CHAT, {"model": "a"}, x_api_key="k")[0] == 200
    assert gateway.ask("POST", CHAT, {"model": "sql"}, x_api_key="k")[0] == 404


def test_a_split_keeps_to_its_weights(gateway: Any, upstream: Any) -> None:
    """A canary gets its share, and a split may be changed to all of it without a reload."""
    view = gateway.view(route("old", upstream("old")), route("new", upstream("new")))
    gateway.haproxy.start(replace(view, aliases=(Alias("chat", (("new", 20), ("old", 80))),)))
    before = gateway.haproxies()
    shares = Counter(ask(gateway, "chat")[1]["by"] for _ in range(400))
    assert 40 <= shares["new"] <= 130  # 80 expected, with a standard deviation of 8
    gateway.haproxy.apply(replace(view, aliases=(Alias("chat", (("new", 1), ("old", 99))),)))
    assert Counter(ask(gateway, "chat")[1]["by"] for _ in range(100))["old"] >= 80
    gateway.haproxy.apply(replace(view, aliases=(Alias("chat", (("new", 1),)),)))
    assert {ask(gateway, "chat")[1]["by"] for _ in range(20)} == {"new"}
    assert gateway.haproxies() == before


def test_a_chain_of_fallbacks(gateway: Any, upstream: Any) -> None:
    """The next that has a replica answers, under its own name; who comes back is asked again."""
    a, b, c = upstream("a1"), upstream("b1"), upstream("c1")
    none = (route("a", fallback="b"), route("b", fallback="c"), route("c", c))
    gateway.haproxy.start(gateway.view(*none))
    assert ask(gateway, "a") == ask(gateway, "b") == (200, {"by": "c1", "model": "c"})
    gateway.haproxy.apply(gateway.view(none[0], route("b", b, fallback="c"), none[2]))
    gateway.until(lambda: ask(gateway, "a") == (200, {"by": "b1", "model": "b"}))
    gateway.haproxy.apply(gateway.view(route("a", a, fallback="b"), route("b", b, fallback="c"), none[2]))
    gateway.until(lambda: ask(gateway, "a") == (200, {"by": "a1", "model": "a"}))


def test_who_finds_a_model_dead_asks_again(gateway: Any, upstream: Any) -> None:
    """503, with the second after which the fallback answers."""
    a, b = upstream("a1"), upstream("b1")
    gateway.haproxy.start(gateway.view(route("a", a, fallback="b"), route("b", b)))
    assert ask(gateway, "a")[1]["by"] == "a1"
    a.kill()
    with gateway.open("POST", CHAT, {"model": "a"}) as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert json.loads(answer.read())["error"]["code"] == "service_unavailable"
    assert ask(gateway, "a") == (200, {"by": "b1", "model": "b"})


def test_the_last_of_a_chain_waits_for_serve(gateway: Any, upstream: Any) -> None:
    """A model without a fallback is never down: Serve holds its requests until there is a replica."""
    serve_proxy = upstream("serve")
    gateway.serve_port = serve_proxy.server_port
    gateway.haproxy.start(gateway.view(route("a", fallback="b"), route("b")))
    assert ask(gateway, "a") == (200, {"by": "serve", "model": "b"})
    assert serve_proxy.seen[0].path.endswith(f"/models/b{CHAT}")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("name", ["a", "alias"])
def test_the_path_names_the_model(gateway: Any, upstream: Any, method: str, name: str) -> None:
    """For any method and any body; the engine sees the rest of the path."""
    a = upstream("a1")
    for verb in ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        setattr(a.RequestHandlerClass, f"do_{verb}", a.RequestHandlerClass.do_GET)
    model = replace(route("a", a), endpoints=("/v1/files/",))
    gateway.haproxy.start(replace(gateway.view(model), aliases=(Alias("alias", (("a", 1),)),)))
    with gateway.open(method, f"/models/{name}/v1/files/x?q=/models/b/z", None) as answer:
        assert (answer.status, bool(answer.read())) == (200, method != "HEAD")
    assert a.seen[0].path == "/v1/files/x?q=/models/b/z"


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/models/a/", "/"),
        ("/models/a", "/"),
        ("/models/a?x=1", "/?x=1"),
        ("/models/a/models/b/v1", "/models/b/v1"),
        ("/models/%61/v1", "/v1"),
        ("/models/a/rayllm/v1/state", "/rayllm/v1/state"),
        ("/models/a/health", "/health"),
        ("/models/a//v1", None),
        ("/models/a/../b/v1", None),
        ("/models/a/v1/%2e%2e/x", None),
    ],
)
def test_edges_of_a_path(gateway: Any, upstream: Any, path: str, seen: str | None) -> None:
    """What follows the name is the engine's, whatever it looks like: no second look at it opens another door."""
    a, b = upstream("a1"), upstream("b1")
    every = [replace(route(name, engine), endpoints=("/",)) for name, engine in (("a", a), ("b", b))]
    gateway.haproxy.start(gateway.view(*every))
    status, answer = gateway.ask("GET", path)
    assert status == (200 if seen else 404)
    assert answer.get("by") == ("a1" if seen else None)
    assert [request.path for request in a.seen] == ([seen] if seen else [])
    assert not b.seen


@pytest.mark.parametrize("path", ["/models/", "/models//v1", "/models/a%2Fv1", "/models/..%2fa/v1", "/models/c/v1"])
def test_a_path_without_a_model(gateway: Any, upstream: Any, path: str) -> None:
    """404, and nobody is asked."""
    a = upstream("a1")
    gateway.haproxy.start(gateway.view(route("a", a)))
    status, answer = gateway.ask("GET", path)
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert not a.seen


@pytest.fixture
def echo() -> Iterator[Server]:
    """An engine that speaks WebSocket and says everything twice."""

    def twice(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message * 2)

    with serve(twice, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
    thread.join()


@pytest.mark.parametrize("name", ["a", "alias"])
def test_a_websocket(gateway: Any, echo: Server, name: str) -> None:
    """Texts and bytes in both directions, over the model's path."""
    engine = Upstream("e1", "127.0.0.1", echo.socket.getsockname()[1])
    view = gateway.view(ModelRoute("a", "k", (engine,), endpoints=("/v1/realtime",)))
    gateway.haproxy.start(replace(view, aliases=(Alias("alias", (("a", 1),)),)))
    with connect(f"ws://127.0.0.1:{gateway.port}/models/{name}/v1/realtime?x=1", proxy=None) as client:
        for message in ("hello", b"\0" * 100_000, "again"):
            client.send(message)
            assert client.recv(10) == message * 2


ONE, ALL = "sk-one", "sk-all"


def keyed(gateway: Any, upstream: Any) -> Any:
    """Three names, a key for some of them and a key for all."""
    keys = (
        KeyRule("one", (digest(ONE),), names=("smollm2", "fast")),
        KeyRule("all", (digest(ALL),)),
    )
    aliases = (Alias("fast", (("smollm2", 1),)), Alias("smart", (("qwen3-8b", 1),)))
    routes = (route("smollm2", upstream("s"), adapters=(AdapterRoute("sql", "sql"),)), route("qwen3-8b", upstream("q")))
    return replace(gateway.view(*routes), aliases=aliases, keys=keys, keys_required=True)


def digest(key: str) -> str:
    """As the maps hold it."""
    return hashlib.sha256(key.encode()).hexdigest().upper()


def names(gateway: Any, key: str) -> list[str]:
    """What a key is told that there is."""
    return [model["id"] for model in gateway.ask("GET", "/v1/models", x_api_key=key)[1]["data"]]


def test_a_key_sees_what_it_may_use(gateway: Any, upstream: Any) -> None:
    """In the list, one by one, and in what is near to a name that is not there."""
    gateway.haproxy.start(keyed(gateway, upstream))
    assert names(gateway, ALL) == ["fast", "qwen3-8b", "smart", "smollm2", "sql"]
    assert names(gateway, ONE) == ["fast", "smollm2"]
    assert gateway.ask("GET", "/v1/models/fast", x_api_key=ONE)[1]["id"] == "fast"
    for method, path, body in (
        ("GET", "/v1/models/smart", None),
        ("GET", "/models/smart/v1/x", None),
        ("POST", CHAT, {"model": "smart"}),
    ):
        status, answer = gateway.ask(method, path, body, x_api_key=ONE)
        assert status == 404
        assert answer["error"]["message"] == 'there is no model "smart"; the models here are: fast, smollm2'


def test_a_change_counts_at_once(gateway: Any, upstream: Any) -> None:
    """A name that a key loses is gone from its list without a reload, one that it gets is there within a second."""
    view = keyed(gateway, upstream)
    gateway.haproxy.start(view)
    before = gateway.processes()
    assert names(gateway, ONE) == ["fast", "smollm2"]
    changed = (replace(view.keys[0], names=("smollm2", "newer")), view.keys[1])
    gateway.haproxy.apply(replace(view, keys=changed, aliases=(*view.aliases, Alias("newer", (("qwen3-8b", 1),)))))
    assert "fast" not in names(gateway, ONE)
    gateway.until(lambda: names(gateway, ONE) == ["newer", "smollm2"])
    assert gateway.processes() == before


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("smollm", ["smollm2"]),
        ("SmolLM2", ["smollm2"]),
        ("smolm2", ["smollm2"]),
        ("somllm2", ["smollm2"]),
        ("qewn3-b8", ["qwen3-8b"]),
        ("qwen3", ["qwen3-8b"]),
        ("Qwen3_8B", ["qwen3-8b"]),
        ("gpt-4o", []),
        ("", []),
    ],
)
def test_the_nearest_names(gateway: Any, upstream: Any, asked: str, near: list[str]) -> None:
    """A slip of the pen, another case, a part of the name; nothing where nothing is near."""
    gateway.haproxy.start(gateway.view(route("smollm2", upstream("s")), route("qwen3-8b", upstream("q"))))
    message = gateway.ask("GET", f"/v1/models/{asked}")[1]["error"]["message"]
    start = f'there is no model "{asked}"; '
    hint = f'did you mean "{near[0]}"? The' if near else "the"
    assert message == f"{start}{hint} models here are: qwen3-8b, smollm2"


@pytest.mark.parametrize(("asked", "near"), [("alpah", True), ("laph", False), ("alpha", None), ("ahpla", False)])
def test_neighbours_that_change_places_are_one_slip(gateway: Any, asked: str, *, near: bool | None) -> None:
    """In five letters one is near enough, two are not."""
    gateway.haproxy.start(gateway.view(route("alpha")))
    status, answer = gateway.ask("GET", f"/v1/models/{asked}")
    assert status == (404 if near is not None else 200)
    assert ('did you mean "alpha"?' in str(answer)) == bool(near)


ENDPOINTS = (*OPENAI_ENDPOINTS, "/v1/beta/")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/Chat/Completions?x=1", "/v1/chat/completions"),
        ("/embeddings", "/v1/embeddings"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/chat/completoins/", "/v1/chat/completions"),
        ("/chat/completion", "/v1/chat/completions"),
        ("/v2/reranks", "/v2/rerank"),
        ("/beta/x/y-z", "/v1/beta/x/y-z"),
        ("/beta/x//y", None),
        ("/beta/%22", None),
        ("/models/a/models", "/v1/models"),
        ("/v1/model", None),
        ("/sleep", None),
        ("/metrics", None),
        ("/x", None),
        ("/v1", None),
        ("/v1/chat/completions" + "s" * 200, None),
    ],
)
def test_the_nearest_endpoint(gateway: Any, upstream: Any, path: str, meant: str | None) -> None:
    """An address without its `/v1`, or with a slip; nothing where nothing is near."""
    gateway.haproxy.start(gateway.view(replace(route("a", upstream("a1")), endpoints=ENDPOINTS)))
    status, answer = gateway.ask("POST", path, {"model": "a"})
    assert (status, answer["error"]["code"]) == (404, "not_found")
    shown = path.removeprefix("/models/a").partition("?")[0][:200]
    assert answer["error"]["message"] == f"the model a has no endpoint {shown}" + (
        f"; did you mean {meant}?" if meant else ""
    )


def test_a_list_without_its_v1(gateway: Any) -> None:
    """As a client asks for it whose address lacks that."""
    gateway.haproxy.start(gateway.view(route("a")))
    message = gateway.ask("GET", "/models")[1]["error"]["message"]
    assert message == "there is no GET /models here; did you mean /v1/models?"


def test_a_thousand_names(gateway: Any) -> None:
    """All are listed, the nearest three are found, and what that costs has a bound."""
    wanted = [f"model-{number:04}-{'x' * 65}" for number in range(1000)]
    gateway.haproxy.start(gateway.view(*(route(name) for name in wanted)))
    assert names(gateway, "") == wanted
    message = gateway.ask("GET", f"/v1/models/{wanted[7]}x")[1]["error"]["message"]
    assert message.count("model-") == 4
    assert f'"{wanted[7]}"' in message
    assert message.endswith("GET /v1/models lists all 1000")


def test_head_has_no_body(gateway: Any) -> None:
    """The length alone, and the connection stays usable."""
    gateway.haproxy.start(gateway.view(route("a")))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as line:
        line.sendall(b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        line.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: line.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 200") == 2
    assert b'"object"' not in answers
