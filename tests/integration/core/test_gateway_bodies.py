"""Which model a body names, for every body: real HAProxy, held to `json.loads`."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rayllm.serving.haproxy import large, reading
from rayllm.serving.haproxy.limits import BODY_IN_PLACE, HUGE_BODIES
from rayllm.serving.haproxy.view import Alias, GatewayView, KeyRule, ModelRoute, Upstream

CHAT = "/v1/chat/completions"
PATH = "/v1/responses"
"""Where nothing is asked of the engine beside what the client asks."""
MIB = 1 << 20
MOST = 64 * MIB
NAMES = ("a", "b")
BODIES = 6000


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
        self.view: GatewayView = replace(gateway.view(*routes), aliases=(Alias("other", (("b", 1),)),))
        gateway.haproxy.start(self.view)
        gateway.until((self.view.run_dir / "large.sock").exists)
        self.connection: HTTPConnection = gateway.connect()

    def lines(self) -> list[dict[str, Any]]:
        """The requests of the access log."""
        text = self.gateway.log.with_name("access.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def ask(
        self, body: bytes, kind: str = "application/json", *, chunked: int = 0, path: str = PATH, **headers: str
    ) -> Any:
        """Status and answer, over one kept connection; `chunked` is the size of the pieces."""
        pieces = (body[at : at + chunked] for at in range(0, len(body), chunked)) if chunked else body
        headers = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with contextlib.suppress(ConnectionError):  # it is closed while we send; what it said is there to read
            self.connection.request("POST", path, pieces, headers, encode_chunked=bool(chunked))
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
        whole = self.space() + self.fields(fields) + self.space()
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

    def fields(self, fields: list[tuple[str, object]]) -> str:
        """Written."""
        written = [f"{self.space()}{self.text(key)}{self.space()}:{self.write(value)}" for key, value in fields]
        return "{" + ",".join(written) + self.space() + "}"

    def write(self, value: object) -> str:
        """Written, with space around it."""
        if isinstance(value, str):
            text = self.text(value)
        elif isinstance(value, Pairs):
            text = self.fields(value)
        elif isinstance(value, dict):
            text = self.fields(list(value.items()))
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
    """413, whether its length is announced or not; a client that sends on regardless gets to read it, too."""
    status, answer = served.ask(padded(MOST + MIB), chunked=chunked)
    error = answer["error"]
    assert (status, error["code"], "64 MiB" in error["message"]) == (413, "body_too_large", True)
    assert not any(engine.body for engine in served.engines.values())


def test_an_alias_becomes_the_engines_own_name(served: Served) -> None:
    """In the body, wherever it stands there, and nothing else of it changes."""
    where = random.Random(7)  # noqa: S311  no secret
    sizes = [*range(60, 80), BODY_IN_PLACE, *(where.randrange(100, 3 * BODY_IN_PLACE) for _ in range(60)), 5 * MIB]
    for size in sizes:
        at = where.choice([None, None if size < 200 else where.randrange(60, size - 20)])
        body = padded(size, "other", at)
        status, answer = served.ask(body, chunked=where.choice([0, 0, 1000, 70_000]))
        assert (status, answer["by"]) == (200, "b"), size
        assert served.engines["b"].body == body.replace(b'"other"', b'"b"'), size


@pytest.mark.parametrize("size", [0, 3 * BODY_IN_PLACE])
@pytest.mark.parametrize("asked", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
def test_a_stream_is_asked_for_its_usage(served: Served, asked: dict[str, Any], size: int) -> None:
    """Where its client said nothing of it, next to another name: two changes of one body."""
    body = {"stream": True, "messages": [{"role": "user", "content": "x" * size}], **asked, "model": "other"}
    assert served.ask(json.dumps(body).encode(), path=CHAT)[0] == 200
    wanted = {"stream_options": {"include_usage": True}, **body, "model": "b"}
    assert json.loads(served.engines["b"].body) == wanted


FILE = b"\x00\r\n--x\r\n\r\n" * 10


def form(*parts: tuple[str, bytes], boundary: bytes = b"x7") -> bytes:
    """A multipart body of these content-dispositions and contents."""
    pieces = [
        b"--" + boundary + b"\r\nContent-Disposition: form-data; " + about.encode() + b"\r\n\r\n" + content + b"\r\n"
        for about, content in parts
    ]
    return b"".join(pieces) + b"--" + boundary + b"--\r\n"


SOUND = ('name="file"; filename="a; name=model.wav"\r\nContent-Type: audio/wav', FILE)


@pytest.mark.parametrize("size", [0, 2 * BODY_IN_PLACE])
@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x7", 'Multipart/Form-Data; charset=utf-8; boundary="x7"']
)
def test_a_form_names_its_model(served: Served, kind: str, size: int) -> None:
    """In a field before the file or behind it, its name quoted or not; an alias is replaced there, too."""
    sound = (SOUND[0], FILE + b"\0" * size)
    for parts in (
        [('name="model"', b"b"), sound],
        [sound, ("name=model", b"b")],
        [sound, ('NAME="model"\r\nContent-Type: text/plain', b"b"), ("name=x", b"")],
    ):
        status, answer = served.ask(form(*parts), kind)
        assert (status, answer["by"], answer["size"]) == (200, "b", len(form(*parts)))
    assert served.ask(form(('name="model"', b"other"), sound), kind)[1]["by"] == "b"
    assert served.engines["b"].body == form(('name="model"', b"b"), sound)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (form(SOUND), '"model" is missing'),
        (form(("name=model", b"")), '"model" is empty'),
        (form(("name=model", b"a"), ("name=model", b"b")), "twice"),
        (form(("name=model; filename=x", b"a")), "has to be a string"),
        (form(("name=x; name=model", b"a")), "can't be read"),
        (form(("name=model", b"a"), boundary=b"y8"), "can't be read"),
        (form(("name=model", b"a"))[:-6], "can't be read"),
        (b'{"model": "a"}', "can't be read"),
        (b"", "can't be read"),
    ],
)
def test_a_form_without_a_model_is_refused(served: Served, body: bytes, says: str) -> None:
    """400 that tells what is wrong."""
    status, answer = served.ask(body, "multipart/form-data; boundary=x7")
    assert (status, answer["error"]["code"]) == (400, "model_unreadable")
    assert says in answer["error"]["message"]


@pytest.mark.parametrize("size", [0, 2 * BODY_IN_PLACE])
def test_a_compressed_body_is_refused(served: Served, size: int) -> None:
    """415, since nothing can be read in it."""
    body = gzip.compress(b'{"model": "a"}') + b"x" * size
    status, answer = served.ask(body, content_encoding="gzip")
    assert (status, answer["error"]["code"]) == (415, "unsupported_encoding")


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
