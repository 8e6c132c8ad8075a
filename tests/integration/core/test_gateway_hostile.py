"""What is no honest request: shapes that smuggle one in, doors that should stay shut, and 10,000 at random."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset

from rayllm.serving.haproxy.view import ModelRoute, Upstream

CHAT = "/v1/chat/completions"
BODY = b'{"model": "a"}'
INNER = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 14\r\n\r\n" + BODY
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
LAST = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
LENGTH = b"content-length: 14\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"e\r\n" + BODY + b"\r\n0\r\n\r\n"


class Engine(ThreadingHTTPServer):
    """Answers whatever it is asked, and remembers how the request arrived."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Anything)
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is part of the tests."""


class _Anything(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's signature
        """Say nothing."""

    def _answer(self) -> None:
        body = self._chunks() if self.headers["transfer-encoding"] else self._read(self.headers["content-length"])
        self.server.seen.append((self.path, {name.lower(): text for name, text in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")

    def _read(self, length: str | None) -> bytes:
        return self.rfile.read(int(length or 0))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size + 2)[:-2]
        while self.rfile.readline() != b"\r\n":
            pass
        return body


@pytest.fixture
def engine(gateway: Any) -> Iterator[Engine]:
    """One behind the models `a` and `b`, where `b` takes any path."""
    with Engine() as server:
        replica = (Upstream("e1", "127.0.0.1", server.server_port),)
        gateway.haproxy.start(
            gateway.view(ModelRoute("a", "k", replica), ModelRoute("b", "k", replica, endpoints=("/",)))
        )
        yield server
        server.shutdown()


def exchange(port: int, data: bytes, patience_s: float = 10) -> list[tuple[int, bytes]]:
    """Status and body of each answer to these bytes, until the connection is closed or nothing comes any more."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as line:
        try:
            line.sendall(data)
            while piece := line.recv(1 << 16):
                received += piece
        except (TimeoutError, ConnectionError):
            pass
    answers = []
    while head := re.match(rb"HTTP/1\.[01] (\d+) .*?\r\n\r\n", received, re.DOTALL):
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head[0])
        end = head.end() + int(length[1]) if length else len(received)
        if received.startswith(b"HTTP/1.", head.end()):  # the answer to HEAD
            end = head.end()
        answers.append((int(head[1]), received[head.end() : end]))
        received = received[end:]
    return answers


ONE_REQUEST = {
    "two lengths that agree": LENGTH + LENGTH + b"\r\n" + BODY,
    "a list of lengths that agree": b"content-length: 14, 14\r\n\r\n" + BODY,
    "a chunk's extension": CHUNKED + b"\r\ne;a=b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"\r\ne\r\n" + BODY + b"\r\n0\r\ncontent-length: 99\r\nx-rayllm-model: b\r\n\r\n",
    "another case of chunked": b"Transfer-Encoding: ChUnKeD\r\n\r\n" + CHUNKS,
    "a folded header": b"x-y: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY,
}


@pytest.mark.parametrize("name", ONE_REQUEST)
def test_odd_and_allowed(gateway: Any, engine: Engine, name: str) -> None:
    """The engine gets one request, framed in one way; the next one on the connection is answered as itself."""
    answers = exchange(gateway.port, HEAD + ONE_REQUEST[name] + LAST)
    assert [status for status, _ in answers] == [200, 200]
    ((path, headers, body),) = engine.seen
    assert (path, body, headers["x-rayllm-model"]) == (CHAT, BODY, "a")
    assert ("content-length" in headers) != ("transfer-encoding" in headers)


def test_both_framings(gateway: Any, engine: Engine) -> None:
    """Chunks win and the length goes; what hides behind either end is no request, since the connection is closed."""
    for data in (LENGTH + CHUNKED + b"\r\n" + CHUNKS, CHUNKED + b"content-length: 5\r\n\r\n" + CHUNKS):
        assert [status for status, _ in exchange(gateway.port, HEAD + data + INNER + LAST)][:1] == [200]
    assert all("content-length" not in headers for path, headers, _ in engine.seen if path == CHAT)
    assert [body for path, _, body in engine.seen if path == CHAT] == [BODY, BODY]


def test_a_body_that_looks_like_a_request(gateway: Any, engine: Engine) -> None:
    """Is a body, of a GET too."""
    inside = b"content-length: %d\r\n\r\n" % len(INNER) + INNER
    answers = exchange(gateway.port, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" + inside + LAST)
    assert [status for status, _ in answers] == [200, 200]
    assert not engine.seen


REFUSED = {
    "two lengths that differ": LENGTH + b"content-length: 0\r\n\r\n" + BODY,
    "a list of lengths that differ": b"content-length: 14, 0\r\n\r\n" + BODY,
    "a length with a sign": b"content-length: +14\r\n\r\n" + BODY,
    "a negative length": b"content-length: -1\r\n\r\n" + BODY,
    "a length that overflows": b"content-length: 18446744073709551630\r\n\r\n" + BODY,
    "an unknown encoding": b"transfer-encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunked, but not last": b"transfer-encoding: chunked, identity\r\n\r\n" + CHUNKS,
    "chunked twice": CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
    "a space before the colon": b"transfer-encoding : chunked\r\n\r\n" + CHUNKS,
    "a vertical tab": b"transfer-encoding:\x0bchunked\r\n\r\n" + CHUNKS,
    "a chunk of negative size": CHUNKED + b"\r\n-e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk that overflows": CHUNKED + b"\r\n1000000000000000e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunks ended by a bare line feed": CHUNKED + b"\r\ne\n" + BODY + b"\n0\n\n",
    "a null in a header": b"x-y: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "a carriage return in a header": b"x-y: a\rx-rayllm-model: b\r\n" + LENGTH + b"\r\n" + BODY,
    "a header's name with a space": b"x y: 1\r\n" + LENGTH + b"\r\n" + BODY,
    "two hosts": b"host: y\r\n" + LENGTH + b"\r\n" + BODY,
    "too many headers": b"".join(b"x-%d: y\r\n" % number for number in range(200)) + LENGTH + b"\r\n" + BODY,
    "headers that are too large": b"x-y: %b\r\n" % (b"y" * 400_000) + LENGTH + b"\r\n" + BODY,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(gateway: Any, engine: Engine, name: str) -> None:
    """400, the connection is closed, and nothing of it reaches an engine, nor what follows."""
    assert [status for status, _ in exchange(gateway.port, HEAD + REFUSED[name] + INNER + LAST)] == [400]
    assert not engine.seen


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /health", 400),
        (b"GET /health HTTP/9.9\r\nhost: x", 200),
        (b"GET /a b HTTP/1.1\r\nhost: x", 400),
        (b"GET  /health HTTP/1.1\r\nhost: x", 200),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET http://evil/rayllm/v1/state HTTP/1.1\r\nhost: x", 400),
        (b"CONNECT evil:443 HTTP/1.1\r\nhost: evil:443", 404),
        (b"TRACE / HTTP/1.1\r\nhost: x", 404),
        (b"OPTIONS * HTTP/1.1\r\nhost: x", 404),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nhost: x", 404),
        (b"POST http://x/health HTTP/1.1\r\nhost: x", 404),
    ],
)
def test_first_lines(gateway: Any, engine: Engine, line: bytes, status: int) -> None:
    """No HTTP is 400, a method or a path that is not there is 404; what is only odd is answered as HTTP/1.1."""
    answers = exchange(gateway.port, line + b"\r\nconnection: close\r\n\r\n", 12)
    assert [answered for answered, _ in answers] == [status]
    assert not engine.seen


@pytest.mark.parametrize(
    "path",
    [
        "//rayllm/v1/state",
        "/./rayllm/v1/state",
        "/%72ayllm/v1/state",
        "/RAYLLM/v1/state",
        "/health/../rayllm/v1/state",
        "/models/a/../../rayllm/v1/state",
        "/models/b/rayllm/v1/state",
        "/v1/../rayllm/v1/state",
    ],
)
def test_roundabout_ways_to_the_admin_api(gateway: Any, engine: Engine, path: str) -> None:
    """Only its own path leads there, as it is written: the answer is 404, or the model's."""
    with socket.socket(socket.AF_UNIX) as api:
        api.bind(str(gateway.run_dir / "admin.sock"))
        api.listen()
        api.settimeout(0)
        answer = exchange(gateway.port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        assert [status for status, _ in answer] == [200 if "/models/b/" in path else 404]
        with pytest.raises(BlockingIOError):
            api.accept()


def test_own_headers_are_ours(gateway: Any, engine: Engine) -> None:
    """What a client writes into them is gone, in whatever case, and no value of its body becomes a header."""
    forged = "".join(f"X-RayLLM-{name}: b\r\n" for name in ("Model", "Internal-Key", "Key", "Rule", "Body", "Sized"))
    exchange(gateway.port, HEAD + forged.encode() + LENGTH + b"\r\n" + BODY + LAST)
    names = [name for name in engine.seen[0][1] if name.startswith("x-rayllm-")]
    assert names == ["x-rayllm-model"]
    assert engine.seen[0][1]["x-rayllm-model"] == "a"
    inside = json.dumps({"model": "a\r\nx-injected: 1\r\n\r\n"}).encode()
    ((status, body), _) = exchange(gateway.port, HEAD + b"content-length: %d\r\n\r\n" % len(inside) + inside + LAST)
    assert status == 404
    assert json.loads(body)["error"]["message"].startswith('there is no model "a\r\nx-injected: 1\r\n\r\n"')


PLAIN = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", CHAT)]
OVER_HTTP2 = {
    "no method": PLAIN[1:],
    "no path": PLAIN[:3],
    "two paths": [*PLAIN, (":path", "/health")],
    "an unknown pseudo header": [*PLAIN, (":x", "y")],
    "a pseudo header behind the others": [*PLAIN[:3], ("x-y", "z"), PLAIN[3]],
    "capital letters": [*PLAIN, ("X-Y", "z")],
    "chunked": [*PLAIN, ("transfer-encoding", "chunked")],
    "a header of the connection": [*PLAIN, ("connection", "close")],
    "a line break in a value": [*PLAIN, ("x-y", "z\r\nx-rayllm-model: b")],
    "a line break in the path": [*PLAIN[:3], (":path", f"{CHAT} HTTP/1.1\r\nx-y: z")],
    "a space in the method": [(":method", "POST /rayllm"), *PLAIN[1:]],
    "a path that is none": [*PLAIN[:3], (":path", "v1/models")],
    "another length than it has": [*PLAIN, ("content-length", "5")],
    "another host": [*PLAIN, ("host", "y")],
}


@pytest.mark.parametrize("name", OVER_HTTP2)
def test_http2_that_would_be_other_http1(gateway: Any, engine: Engine, name: str) -> None:
    """Headers that would mean something else in HTTP/1 are refused, or reach the engine as what they are."""
    answered = over_http2(gateway.port, OVER_HTTP2[name])
    assert answered in {"reset", "closed", "400", "404"} or name == "another host"
    assert all(path == CHAT and body == BODY for path, _, body in engine.seen)
    assert len(engine.seen) == (name == "another host")
    assert not any("x-y" in headers for _, headers, _ in engine.seen)
    assert gateway.ask("GET", "/health")[0] == 200


def over_http2(port: int, headers: list[tuple[str, str]]) -> str:
    """What becomes of a request with these headers: its status, or how it is refused."""
    given = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = H2Connection(given)
    connection.initiate_connection()
    connection.send_headers(1, headers)
    connection.send_data(1, BODY, end_stream=True)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(connection.data_to_send())
        status = "closed"
        while piece := line.recv(1 << 16):
            for event in connection.receive_data(piece):
                if isinstance(event, ResponseReceived):
                    status = dict(event.headers or [])[b":status"].decode()
                elif isinstance(event, StreamReset):
                    return "reset"
                elif isinstance(event, (StreamEnded, ConnectionTerminated)):
                    return status
                elif isinstance(event, DataReceived):
                    continue
            line.sendall(connection.data_to_send())
    return status


SEED, BATCHES, EACH = 20_261, 400, 25
METHODS = ["POST"] * 8 + ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "post"]
PATHS = [CHAT, CHAT, "/v1/embeddings", "/models/b/x", "/models/", "/v1/models", "/v1/models/a", "/health", "/", "//"]
TYPES = ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain", "", "\xff"]
PARTS = [b'"model"', b":", b'"a"', b'"b"', b"{", b"}", b"[", b"]", b",", b"\\", b'"', b"\\u00", b"\\ud800", b"null"]
PARTS += [b"1e9", b" ", b"\x00", b"\xff", b'"stream"', b"true", b"--x\r\n", b'name="model"', b"\r\n\r\n", b"x" * 300]


def at_random(dice: random.Random) -> bytes:
    """One request whose framing is right, and nothing else has to be."""
    body = dice.choice([BODY, b"".join(dice.choices(PARTS, k=dice.randrange(40))), dice.randbytes(dice.randrange(200))])
    path = dice.choice(PATHS) + "".join(dice.choices("ab/%?#.;\\2f", k=dice.choice([0, 0, dice.randrange(6)])))
    fields = [f"host: x\r\ncontent-length: {len(body)}", f"content-type: {dice.choice(TYPES)}"]
    for _ in range(dice.randrange(4)):
        name = dice.choice(["x-request-id", "x-session-id", "authorization", "x-api-key", "x-rayllm-body", "te"])
        fields.append(f"{name}: " + "".join(chr(dice.choice([9, 32, *range(33, 127), 200])) for _ in range(9)))
    head = "\r\n".join([f"{dice.choice(METHODS)} {path} HTTP/1.1", *fields, "", ""])
    return head.encode("latin-1") + body


def broken(dice: random.Random, data: bytes) -> bytes:
    """The same with some bytes changed, lost or doubled."""
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(data))
        data = data[:place] + dice.choice([b"", dice.randbytes(1), data[place : place + 9] * 2]) + data[place + 1 :]
    return data


def test_ten_thousand_at_random(gateway: Any, engine: Engine) -> None:
    """Each is answered, none with an error of ours, and afterwards the gateway is as before."""
    before = gateway.processes()

    def batch(number: int) -> list[int]:
        dice = random.Random(SEED + number)  # noqa: S311  a test that can be repeated
        left = [at_random(dice) for _ in range(EACH)]
        left.append(broken(dice, left.pop()))
        found: list[int] = []
        while left:  # one that is refused ends its connection
            answers = exchange(gateway.port, b"".join(left) + LAST, patience_s=0.5)[: len(left)]
            found += [status for status, _ in answers]
            left = left[max(len(answers), 1) :]
        return found

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(status for found in pool.map(batch, range(BATCHES)) for status in found)
    assert not [status for status in statuses if status >= 500], statuses
    assert statuses[200] > 1000, statuses
    assert statuses.total() > BATCHES * EACH * 0.95, statuses
    assert gateway.processes() == before
    assert gateway.ask("POST", CHAT, {"model": "a"}) == (200, {})
