"""Which model a body names, for every body: real HAProxy, held to `json.loads`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rayllm.serving.haproxy.limits import BODY_IN_PLACE
from rayllm.serving.haproxy.view import Alias, GatewayView, ModelRoute, Upstream

CHAT = "/v1/chat/completions"
MIB = 1 << 20
MOST = 64 * MIB
NAMES = ("a", "b")
BODIES = 2000


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its duplicate keys."""


class Reader(ThreadingHTTPServer):
    """An engine that takes any body, and says what it got."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.body = b""
        self.keeps = True
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Reader

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""

    def do_POST(self) -> None:
        """Read the body, and answer with its digest."""
        digest, size, kept = hashlib.sha256(), 0, []
        for piece in self._pieces():
            digest.update(piece)
            size += len(piece)
            if self.server.keeps:
                kept.append(piece)
        self.server.body = b"".join(kept)
        answer = json.dumps({"by": self.server.name, "size": size, "sha256": digest.hexdigest()}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _pieces(self) -> Iterator[bytes]:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            left = int(self.headers["content-length"])
            while left:
                piece = self.rfile.read(min(left, MIB))
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


class Served:
    """A gateway with the models `a` and `b`, and `other` for `b`."""

    def __init__(self, gateway: Any) -> None:
        self.gateway = gateway
        self.engines = {name: Reader(name) for name in NAMES}
        routes = tuple(
            ModelRoute(name, "k", (Upstream(name, "127.0.0.1", engine.server_port),))
            for name, engine in self.engines.items()
        )
        view: GatewayView = gateway.view(*routes)
        self.view = view.__class__(
            **{name: getattr(view, name) for name in view.__slots__} | {"aliases": (Alias("other", (("b", 1),)),)}  # type: ignore[arg-type]
        )
        gateway.haproxy.start(self.view)
        gateway.until((self.view.run_dir / "large.sock").exists)
        self.connection: HTTPConnection = gateway.connect()

    def ask(self, body: bytes, kind: str = "application/json", *, chunked: int = 0, path: str = CHAT) -> Any:
        """Status and answer, over one kept connection; `chunked` is the size of the pieces."""
        pieces = (body[at : at + chunked] for at in range(0, len(body), chunked)) if chunked else body
        self.connection.request("POST", path, pieces, {"content-type": kind}, encode_chunked=bool(chunked))  # type: ignore[arg-type]
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def served(gateway: Any) -> Iterator[Served]:
    """The gateway of this page."""
    made = Served(gateway)
    yield made
    for engine in made.engines.values():
        engine.shutdown()
        engine.server_close()


class Writer:
    """Random JSON, written in as many ways as there are."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  no secret

    def body(self) -> bytes:
        """A request, most of them good ones."""
        chance = self.random.random
        fields = [(self.key(), self.value(3)) for _ in range(self.random.randrange(5))]
        if chance() < 0.95:
            fields.append(("model", self.name()))
        if chance() < 0.08:
            fields.append(("model", self.name()))
        self.random.shuffle(fields)
        whole = self.space() + self.object(fields) + self.space()
        if chance() < 0.03:
            whole = self.random.choice(["[" + whole + "]", "", "null", '"model"', "7", whole + whole])
        return whole.encode("utf-8", "surrogatepass")

    def name(self) -> object:
        """What stands for the model."""
        if self.random.random() < 0.08:
            return self.random.choice([None, 7, True, {"model": "a"}, ["a"], "", 1.5, float("nan")])
        return self.random.choice(
            ["a", "b", "a", "b", "meta/x", "ü", "😀 x", 'a"b', "a\\", "a\nb", "a}", '","model":"b']
        )

    def key(self) -> str:
        """Any but the model's."""
        return self.random.choice(
            ["messages", "Model", "mode", "model ", "", 'mo"del', "\\", "😀", "prompt", "stream", "}{"]
        )

    def value(self, depth: int) -> object:
        """Anything; nested objects like to have a `model`."""
        kind = self.random.randrange(8 if depth else 5)
        if kind == 7:
            return Pairs((self.random.choice(["model", "role", "x"]), self.value(depth - 1)) for _ in range(kind % 4))
        if kind >= 5:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        texts = ['"', "\\", '\\"', '{"model": "b"}', "]", "[{", "text " * 5, "\\\\\\", "\u2028é", "/"]
        return self.random.choice([self.random.choice(texts), 1e300, -17, None, True, False, float("inf"), 0.25])

    def space(self) -> str:
        """Between two tokens."""
        return self.random.choice(["", "", "", " ", "\n\t ", "\r\n"])

    def object(self, fields: list[tuple[str, object]]) -> str:
        """Written."""
        written = [f"{self.space()}{self.text(key)}{self.space()}:{self.write(value)}" for key, value in fields]
        return "{" + ",".join(written) + self.space() + "}"

    def write(self, value: object) -> str:
        """Written, with space around it."""
        if isinstance(value, str):
            text = self.text(value)
        elif isinstance(value, Pairs):
            text = self.object(value)
        elif isinstance(value, dict):
            text = self.object(list(value.items()))
        elif isinstance(value, list):
            text = "[" + ",".join(map(self.write, value)) + "]"
        else:
            text = json.dumps(value)
        return self.space() + text + self.space()

    def text(self, text: str) -> str:
        """A string, its characters escaped or not."""
        often = self.random.choice([0, 0, 0.1, 1])
        return '"' + "".join(self._char(char, escape=self.random.random() < often) for char in text) + '"'

    def _char(self, char: str, *, escape: bool) -> str:
        if char == "/" and escape:
            return "\\/"
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        units = char.encode("utf-16-be")
        hexed = "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
        return self.random.choice([hexed, hexed.upper().replace("U", "u")]) if escape else plain

    def broken(self) -> bytes:
        """One that somebody cut or scratched."""
        whole = bytearray(self.body() or b"{}")
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(whole))
            change: Callable[[], object] = self.random.choice(
                [
                    lambda at=at: whole.__delitem__(slice(at, None if at else 1)),
                    lambda at=at: whole.__setitem__(at, self.random.randrange(256)),
                    lambda at=at: whole.insert(at, self.random.choice(b'"\\{}[],:\0')),
                    lambda at=at: whole.__delitem__(at),
                ]
            )
            change()
            if not whole:
                break
        return bytes(whole)


def meant(body: bytes) -> str | None:
    """The model that `json.loads` finds, None for one that has to be refused; ValueError for what is no JSON."""
    found = json.loads(body, object_pairs_hook=Pairs)
    models = [value for key, value in found if key == "model"] if isinstance(found, Pairs) else []
    if len(models) != 1 or not isinstance(models[0], str) or not models[0]:
        return None
    return models[0]


def check(served: Served, body: bytes) -> str:
    """Ask, and hold the answer to `json.loads`; returns what happened."""
    status, answer = served.ask(body)
    if status == 200:
        assert answer["sha256"] == hashlib.sha256(body).hexdigest(), body
    try:
        name = meant(body)
    except ValueError:
        assert status in {200, 400, 404}, body
        return "broken"
    if name is None:
        assert (status, answer["error"]["code"]) == (400, "model_unreadable"), body
        return "refused"
    if name in NAMES:
        assert (status, answer["by"]) == (200, name), body
        return "routed"
    assert status == 404, body
    shown = "".join(char for char in name if ord(char) < 1 << 16)  # HAProxy writes no others into JSON
    assert answer["error"]["message"].startswith(f'there is no model "{shown}"'), body
    return "unknown"


def test_every_body_is_routed_as_json_loads_reads_it(served: Served) -> None:
    """Key order, nested and duplicate keys, escapes, surrogates, unicode, white space; unchanged at the engine."""
    writer = Writer(5)
    seen = [check(served, writer.body()) for _ in range(BODIES)]
    assert {what: seen.count(what) > BODIES / 50 for what in ("routed", "unknown", "refused")} == {
        "routed": True,
        "unknown": True,
        "refused": True,
    }


def test_broken_bodies_are_refused_or_passed_on_whole(served: Served) -> None:
    """What the scanner does not notice is for the engine to refuse; what is still valid goes where it should."""
    writer = Writer(6)
    seen = [check(served, writer.broken()) for _ in range(BODIES // 2)]
    assert seen.count("broken") > BODIES / 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"no JSON", "not valid JSON"),
        (b'{"model": "a"', "not valid JSON"),
        (b'{"model": "a"} x', "not valid JSON"),
        (b"[]", "not valid JSON"),
        ('{"model": "a"}'.encode("utf-16"), "not valid JSON"),
        (b"{}", '"model" is missing'),
        (b'{"messages": [{"model": "a"}]}', '"model" is missing'),
        (b'{"model": ""}', '"model" is empty'),
        (b'{"model": null}', "has to be a string"),
        (b'{"model": 7}', "has to be a string"),
        (b'{"model": "a", "model": "b"}', "twice"),
        (b'{"model": "a", "mod\\u0065l": "a"}', "twice"),
        (b'{"model": "a\\u0000b"}', "can't be the name"),
        (b'{"model": "\\ud800"}', "can't be the name"),
        (b'{"model": "a\nb"}', "can't be the name"),
        (b'{"model": "' + b"x" * 9000 + b'"}', "can't be the name"),
    ],
)
def test_a_body_without_a_model_is_refused(served: Served, body: bytes, says: str) -> None:
    """400 that tells what is wrong, from both ways that a body can go."""
    for padded in (body, body and body + b" " * (BODY_IN_PLACE + 1)):
        status, answer = served.ask(padded)
        error = answer["error"]
        assert (status, error["code"], error["param"]) == (400, "model_unreadable", "model")
        assert says in error["message"]


def test_a_mark_of_utf8_is_no_mistake(served: Served) -> None:
    """As for `json.loads`."""
    assert served.ask(b'\xef\xbb\xbf {"model": "a"}')[0] == 200


def padded(size: int, name: str = "a", at: int | None = None) -> bytes:
    """A request of exactly this many bytes, the name at this offset, or at the end."""
    head, tail = b'{"messages": "', b'", "model": "%s"' % name.encode()
    at = size - len(name) - 2 if at is None else at
    start = head + b"x" * (at - len(head) - len(tail) + len(name) + 1) + tail + b', "user": "'
    start, rest = (
        (start, size - len(start) - 2) if size - len(start) >= 2 else (start[: -len(b', "user": "')] + b"}", 0)
    )
    return start if start.endswith(b"}") else start + b"y" * rest + b'"}'


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
    """413, which a client that sends on regardless gets to read, too."""
    body = padded(MOST + MIB)
    with contextlib.suppress(ConnectionError):
        served.ask(body, chunked=chunked)
    answer = served.connection.getresponse() if served.connection.sock else None
    assert answer is None or answer.status == 413
