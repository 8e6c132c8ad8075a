"""API keys and their limits: real HAProxy, engines of the standard library."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from rayllm.serving.haproxy.view import Alias, GatewayView, KeyRule, ModelRoute

CHAT = "/v1/chat/completions"
SECRET = "sk-of-a-test-0123456789"
ANYTHING = {"model": "a", "messages": []}
NEVER = 4_000_000_000
KEYLESS = [("GET", "/health"), ("GET", "/rayllm/v1/state"), ("PUT", "/rayllm/v1/lease"), ("POST", "/rayllm/")]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
PATHS = [
    "/",
    "/v1/models",
    "/v1/models/a",
    CHAT,
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/audio/transcriptions",
    "/v1/rerank",
    "/rerank",
    "/score",
    "/tokenize",
    "/invocations",
    "/metrics",
    "/models/a",
    "/models/a/metrics",
    "/models/a/v1/chat/completions",
    "/models/none/v1",
    "/health/",
    "/health%2f",
    "/rayllm",
    "//rayllm/v1/state",
    "/%72ayllm/v1/state",
    "/v1/../rayllm/v1/state",
    "/never/heard/of",
]


def digest(secret: str) -> str:
    """As it stands in the map."""
    return hashlib.sha256(secret.encode()).hexdigest().upper()


def key(id_: str, secret: str = SECRET, **limits: Any) -> KeyRule:
    """A key with limits."""
    return KeyRule(id_, (digest(secret),), **limits)


def closed(gateway: Any, *keys: KeyRule, **more: Any) -> GatewayView:
    """A view that wants keys, with two models that Serve's proxy would have to answer for."""
    view: GatewayView = gateway.view(ModelRoute("a", "ka"), ModelRoute("b", "kb"))
    return replace(view, keys=keys, keys_required=True, **more)


def with_engine(view: GatewayView, engine: Any) -> GatewayView:
    """The same, with this engine for both models."""
    return replace(view, routes=tuple(replace(route, upstreams=(engine.route,)) for route in view.routes))


def status_of(gateway: Any, **headers: str) -> int:
    """Of a request with these headers."""
    return int(gateway.ask("POST", CHAT, ANYTHING, **headers)[0])


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bEARER   {SECRET}"},
        {"x_api_key": SECRET},
        {"x_api_key": SECRET, "authorization": "Bearer of-the-platform"},
        {"x_api_key": "", "authorization": f"Bearer {SECRET}"},
    ],
)
def test_a_key_opens(gateway: Any, upstream: Any, headers: dict[str, str]) -> None:
    """In either header, `x-api-key` first; no engine sees one."""
    engine = upstream("a1")
    gateway.haproxy.start(with_engine(closed(gateway, key("me")), engine))
    assert status_of(gateway, **headers) == 200
    assert not {"authorization", "x-api-key"} & {name.lower() for name in engine.seen[0].headers}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "an API key is needed"),
        ({"x_api_key": ""}, "an API key is needed"),
        ({"authorization": ""}, "an API key is needed"),
        ({"authorization": "Bearer"}, "an API key is needed"),
        ({"authorization": "Bearer "}, "an API key is needed"),
        ({"authorization": SECRET}, "an API key is needed"),
        ({"authorization": f"Basic {SECRET}"}, "an API key is needed"),
        ({"authorization": f"Bearer {SECRET}x"}, "not known here"),
        ({"authorization": f"Bearer {SECRET} {SECRET}"}, "not known here"),
        ({"authorization": f"Bearer {digest(SECRET)}"}, "not known here"),
        ({"x_api_key": SECRET.upper()}, "not known here"),
        ({"x_api_key": "wrong", "authorization": f"Bearer {SECRET}"}, "not known here"),
        ({"x_api_key": "schlüssel"}, "not known here"),
        ({"x_api_key": "k" * 20_000}, "not known here"),
        ({"x_api_key": "old-0123456789abcdef"}, "has expired"),
        ({"x_api_key": "rotated-0123456789abcdef"}, "has expired"),
    ],
)
def test_nothing_else_opens(gateway: Any, headers: dict[str, str], said: str) -> None:
    """401 in OpenAI's shape, with what a client is to send."""
    old = key("old", "old-0123456789abcdef", expires=int(time.time()) - 1)
    rotated = replace(key("rotated", "new-0123456789abcdef"), retiring=((digest("rotated-0123456789abcdef"), 1),))
    gateway.haproxy.start(closed(gateway, key("me"), old, rotated))
    with gateway.open("POST", CHAT, ANYTHING, **headers) as answer:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        error = json.loads(answer.read())["error"]
    assert said in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


def test_two_of_one_header(gateway: Any) -> None:
    """One of them counts, whichever: two wrong ones don't make a right one, and nothing breaks."""
    gateway.haproxy.start(closed(gateway, key("me")))
    for name in (b"authorization: Bearer ", b"x-api-key: "):
        for first, second in ((b"wrong", b"wrong"), (b"", b""), (b"wrong", b"\xff\x00\x7f")):
            answer = _raw(gateway, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n", name + first, name + second)
            assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 ")), answer


def test_every_route_wants_a_key(gateway: Any, upstream: Any) -> None:
    """All methods on all kinds of paths, over HTTP/1.1 and HTTP/2; only what needs none answers without."""
    engine = upstream("a1")
    gateway.haproxy.start(with_engine(closed(gateway, key("me")), engine))
    for method in METHODS:
        for path in PATHS:
            with gateway.open(method, path, None if method == "TRACE" else ANYTHING) as answer:
                assert answer.status == 401, (method, path)
                assert _h2_status(gateway, method, path) == 401, (method, path)
    assert not engine.seen
    for method, path in KEYLESS:
        with gateway.open(method, path, ANYTHING) as answer:
            assert answer.status in {200, 503}, path  # no admin API runs in this test


def test_without_required_keys(gateway: Any, upstream: Any) -> None:
    """Anyone may ask, also with a key that is none; a known one is held to its limits."""
    view = with_engine(closed(gateway, key("me", requests_per_minute=1, names=("a",))), upstream("a1"))
    gateway.haproxy.start(replace(view, keys_required=False))
    assert [status_of(gateway), status_of(gateway, x_api_key="none")] == [200, 200]
    assert status_of(gateway, x_api_key=SECRET) == 200
    assert status_of(gateway, x_api_key=SECRET) == 429
    assert status_of(gateway) == 200


def test_models_of_a_key(gateway: Any, upstream: Any) -> None:
    """Another model than its own is not there for a key."""
    view = with_engine(
        closed(gateway, key("me", names=("a", "other")), key("all", "all-0123456789abcdef")), upstream("1")
    )
    gateway.haproxy.start(replace(view, aliases=(Alias("other", (("b", 1),)),)))
    asked = {name: gateway.ask("POST", CHAT, {"model": name}, x_api_key=SECRET)[0] for name in ("a", "b", "other")}
    assert asked == {"a": 200, "b": 404, "other": 200}
    assert gateway.ask("POST", "/models/b/v1/chat/completions", ANYTHING, x_api_key=SECRET)[0] == 404
    assert gateway.ask("POST", CHAT, {"model": "b"}, x_api_key="all-0123456789abcdef")[0] == 200


def test_requests_per_minute(gateway: Any, upstream: Any) -> None:
    """What is over is refused, with the time until there is room; what was refused does not count; others go on."""
    limits: dict[str, Any] = {"requests_per_minute": 3}
    view = closed(gateway, key("me", **limits), key("you", "you-0123456789abcdef", **limits))
    gateway.haproxy.start(with_engine(view, upstream("a1")))
    _wait_for_room_in_the_minute()
    left = []
    for _ in range(3):
        with gateway.open("POST", CHAT, ANYTHING, x_api_key=SECRET) as answer:
            assert (answer.status, answer.headers["x-ratelimit-limit-requests"]) == (200, "3")
            left.append(answer.headers["x-ratelimit-remaining-requests"])
    assert left == ["2", "1", "0"]
    for _ in range(20):
        with gateway.open("POST", CHAT, ANYTHING, x_api_key=SECRET) as answer:
            assert answer.status == 429
            assert json.loads(answer.read())["error"]["code"] == "rate_limit_exceeded"
            told = int(answer.headers["retry-after"])
            second = time.time() % 60
    # Three requests of this minute leave the window one by one within the next: after its first second, two are left.
    assert 59 <= second + told <= 62
    assert status_of(gateway, x_api_key="you-0123456789abcdef") == 200
    assert _counted(gateway, "me") == 3


def test_lists_and_404s_are_requests_too(gateway: Any) -> None:
    """Whatever a key asks for, it counts; health does not."""
    gateway.haproxy.start(closed(gateway, key("me", requests_per_minute=3)))
    _wait_for_room_in_the_minute()
    asked = [("GET", "/health"), ("GET", "/v1/models"), ("GET", "/v1/nothing"), ("POST", CHAT), ("GET", "/v1/models")]
    found = [gateway.ask(method, path, {"model": "none"}, x_api_key=SECRET)[0] for method, path in asked]
    assert found == [200, 200, 404, 404, 429]
    assert _counted(gateway, "me") == 3


@pytest.mark.parametrize(
    ("limit", "before", "now"), [(3, 0, 3), (60, 60, 0), (60, 90, 10), (100, 300, 40), (1, 1, 0), (7, 0, 20)]
)
def test_retry_after_is_true(gateway: Any, limit: int, before: int, now: int) -> None:
    """By the definition of the sliding minute: at the time told there is room, two seconds earlier there is none."""
    gateway.haproxy.start(closed(gateway, key("me", requests_per_minute=limit)))
    _wait_for_room_in_the_minute()
    minute = int(time.time()) // 60
    _set_counted(gateway, f"me/{minute - 1}", before)
    _set_counted(gateway, f"me/{minute}", now)
    start = time.time()
    with gateway.open("GET", "/v1/models", x_api_key=SECRET) as answer:
        wait = int(answer.headers["retry-after"] or 0)

    def used(at: float) -> int:
        later = int(at) // 60 - minute
        counts = [before, now, 0, 0][later : later + 2]
        return counts[0] * (60 - int(at) % 60) // 60 + counts[1]

    if used(start) < limit:
        assert answer.status == 200
    else:
        assert (answer.status, used(start + wait + 1) < limit, used(max(start, start + wait - 2)) >= limit) == (
            429,
            True,
            True,
        )


def test_concurrent_requests(gateway: Any, upstream: Any) -> None:
    """So many streams at once and no more; an end makes room at once."""
    engine = upstream("a1")
    gateway.haproxy.start(with_engine(closed(gateway, key("me", concurrent_requests=2)), engine))
    streams = [gateway.open("POST", CHAT, {**ANYTHING, "stream": True}, x_api_key=SECRET) for _ in range(2)]
    for _ in range(3):
        with gateway.open("POST", CHAT, ANYTHING, x_api_key=SECRET) as answer:
            assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    engine.gate.set()
    for stream in streams:
        stream.read()
    with ThreadPoolExecutor(2) as pool:
        gateway.until(lambda: set(pool.map(lambda _: status_of(gateway, x_api_key=SECRET), range(2))) == {200})


def test_one_connection_is_not_one_request(gateway: Any, upstream: Any) -> None:
    """Over a kept connection every request counts, and is judged, by itself."""
    gateway.haproxy.start(
        with_engine(closed(gateway, key("me", concurrent_requests=1, requests_per_minute=4)), upstream("a1"))
    )
    _wait_for_room_in_the_minute()
    connection, found = gateway.connect(), []
    for secret in (SECRET, SECRET, "wrong", SECRET, SECRET, SECRET):
        connection.request("POST", CHAT, json.dumps(ANYTHING), {"x-api-key": secret})
        answer = connection.getresponse()
        answer.read()
        found.append(answer.status)
    assert found == [200, 200, 401, 200, 200, 429]


@pytest.mark.parametrize(
    ("step", "limits", "period"),
    [
        (86400, {"tokens_per_day": 5}, "day"),
        (86400, {"tokens_per_day": 5, "tokens_per_minute": 5}, "day"),
        (60, {"tokens_per_minute": 5}, "minute"),
        (86400, {"tokens_per_minute": 5}, "minute"),
    ],
)
def test_tokens_that_are_used_up(gateway: Any, upstream: Any, step: int, limits: dict[str, Any], period: str) -> None:
    """Which of them, and the time until there are new ones, are told; afterwards the key works again by itself."""
    _wait_for_room_in_the_minute()
    until = (int(time.time()) // step + 1) * step
    later, gone = key("me", spent_until=until, **limits), key("you", "you-0123456789abcdef", spent_until=1)
    gateway.haproxy.start(with_engine(closed(gateway, later, gone), upstream("a1")))
    with gateway.open("POST", CHAT, ANYTHING, x_api_key=SECRET) as answer:
        wait = int(answer.headers["retry-after"])
        assert answer.status == 429
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
        told = f"this API key has used its tokens of this {period}; it has new ones at {at}, in {wait} s"
        assert json.loads(answer.read())["error"]["message"] == told
    assert until - 10 <= time.time() + wait <= until + 2
    assert status_of(gateway, x_api_key="you-0123456789abcdef") == 200


def test_a_reload_forgets_no_request(gateway: Any, upstream: Any) -> None:
    """The old worker tells the new one what it has counted."""
    view = with_engine(closed(gateway, key("me", requests_per_minute=2)), upstream("a1"))
    gateway.haproxy.start(view)
    _wait_for_room_in_the_minute()
    assert [status_of(gateway, x_api_key=SECRET) for _ in range(2)] == [200, 200]
    gateway.haproxy.apply(replace(view, routes=(*view.routes, ModelRoute("c", "kc"))))
    gateway.until(lambda: _counted(gateway, "me") == 2)
    assert status_of(gateway, x_api_key=SECRET) == 429


def test_a_cluster_without_a_token(gateway: Any) -> None:
    """Its admin API is for this machine alone, also through the way that a reload opens."""
    gateway.haproxy.start(closed(gateway, host="0.0.0.0", admin_guarded=False))  # noqa: S104  the point of it
    head = b"GET /rayllm/v1/state HTTP/1.1\r\nhost: x\r\n"
    assert _raw(gateway, head).startswith(b"HTTP/1.1 503 ")  # no admin API runs in this test
    assert _raw(gateway, head, host=_own_address()).startswith(b"HTTP/1.1 403 ")


def test_ten_thousand_keys(gateway: Any) -> None:
    """The last of them opens as the first does."""
    keys = [key(f"k{number}", f"secret-{number:012}", names=("a",)) for number in range(10_000)]
    gateway.haproxy.start(closed(gateway, *keys))
    for number in (0, 9_999):
        assert gateway.ask("GET", "/v1/models", x_api_key=f"secret-{number:012}")[0] == 200
    assert gateway.ask("GET", "/v1/models", x_api_key="secret-000000010000")[0] == 401


def test_no_key_is_written_down(gateway: Any) -> None:
    """Neither a right nor a wrong one stands in a file of the gateway or in one of its logs."""
    gateway.haproxy.start(closed(gateway, key("me")))
    for secret in (SECRET, "sk-wrong-0123456789"):
        gateway.ask("GET", "/v1/models", x_api_key=secret)
        gateway.ask("GET", "/v1/nothing", authorization=f"Bearer {secret}")
    gateway.until(lambda: gateway.access.read_text().count('"path":') == 4)
    files = [file for file in (*gateway.run_dir.iterdir(), gateway.log, gateway.access) if file.is_file()]
    assert {gateway.log, gateway.access, gateway.run_dir / "keys.map"} <= set(files)
    written = [file.read_bytes() for file in files]
    for secret in (SECRET, "sk-wrong-0123456789"):
        assert not any(secret.encode() in text for text in written)


def _raw(gateway: Any, head: bytes, *lines: bytes, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, gateway.port), 10) as line:
        line.sendall(head + b"".join(each + b"\r\n" for each in lines) + b"connection: close\r\n\r\n")
        return b"".join(iter(lambda: line.recv(65536), b""))


def _own_address() -> str:
    """This machine's address beyond loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect(("192.0.2.1", 9))  # sends nothing
        return str(line.getsockname()[0])


def _h2_status(gateway: Any, method: str, path: str) -> int:
    """Of a request over HTTP/2 without TLS, in the least of its frames: HPACK's literals need no tables."""

    def field(name: str, value: str) -> bytes:
        return b"\0" + b"".join(bytes([len(part)]) + part.encode() for part in (name, value))

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    pseudo = {":method": method, ":path": path, ":scheme": "http", ":authority": "x"}
    head = frame(1, 5, 1, b"".join(field(*each) for each in pseudo.items()))
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as line, line.makefile("rb") as answer:
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + head)
        while True:
            size, kind = int.from_bytes(answer.read(3), "big"), answer.read(2)[0]
            answer.read(4)
            payload = answer.read(size)
            if kind == 1:
                # `:status 401` is a literal value with an indexed name: 3 digits behind their length.
                return int(payload[payload.index(b"\x03") + 1 :][:3])


def _counted(gateway: Any, id_: str) -> int:
    """Requests of this key, this minute and the last."""
    from rayllm.serving.haproxy import sockets

    shown = sockets.ask(gateway.run_dir, "haproxy.sock", "show table minutes")
    return sum(int(line.rpartition("gpc0=")[2]) for line in shown.splitlines() if f"key={id_}/" in line)


def _set_counted(gateway: Any, entry: str, count: int) -> None:
    from rayllm.serving.haproxy import sockets

    sockets.ask(gateway.run_dir, "haproxy.sock", f"set table minutes key {entry} data.gpc0 {count}")


def _wait_for_room_in_the_minute() -> None:
    """Until a minute won't end for a few seconds: what is counted shall not be cut by it."""
    while time.time() % 60 > 52:
        time.sleep(0.5)
