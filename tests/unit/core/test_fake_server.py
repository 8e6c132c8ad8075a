"""The fake engine's server, as a real process on a real port."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from rayllm.testing import fake_server

BOUND_S = 10.0


class Fake:
    """One running server."""

    def __init__(self, *flags: str) -> None:
        argv = [sys.executable, "-I", str(Path(fake_server.__file__)), "--model", "small", "--port", "0", *flags]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.log = self.process.stderr
        self.known_port = 0

    def port(self) -> int:
        """The port, as the log names it once the server is ready."""
        for line in self.log:
            if found := re.search(r"serves small on 127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise AssertionError("it did not get ready")

    def connect(self) -> HTTPConnection:
        """A connection of its own."""
        self.known_port = self.known_port or self.port()
        return HTTPConnection("127.0.0.1", self.known_port, timeout=BOUND_S)

    def listens(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.known_port)) == 0

    def ask(self, path: str, body: object = None) -> tuple[int, str]:
        """Status and text of one answer."""
        connection = self.connect()
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("GET" if data is None else "POST", path, data)
        with connection.getresponse() as response:
            text = response.read().decode()
        connection.close()
        return response.status, text

    def metric(self, name: str) -> float:
        """One of vLLM's metrics."""
        found = re.search(
            rf'^vllm:{name}{{engine="0",model_name="small"}} (\S+)$', self.ask("/metrics")[1], re.MULTILINE
        )
        assert found is not None
        return float(found[1])

    def close(self) -> None:
        """End the process, if it still runs."""
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Fake]]:
    """Start servers that end with the test."""
    made: list[Fake] = []

    def start_one(*flags: str) -> Fake:
        made.append(Fake(*flags))
        return made[-1]

    yield start_one
    for fake in made:
        fake.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Fake]:
    """One server without any flag, for the tests that only ask."""
    fake = Fake()
    yield fake
    fake.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, within a bound."""
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def chat(**more: Any) -> dict[str, Any]:
    """A chat request for the server's model."""
    return {"model": "small", "messages": [{"role": "user", "content": "two words"}], **more}


def events(text: str) -> list[Any]:
    """The data of a stream's events; the last one must be `[DONE]`."""
    data = re.findall(r"^data: (.*)$", text, re.MULTILINE)
    assert data.pop() == "[DONE]"
    return [json.loads(item) for item in data]


def test_chat_names_the_process_and_counts_tokens(plain: Fake) -> None:
    """The default answer tells replicas apart, and usage adds up."""
    answer = json.loads(plain.ask("/v1/chat/completions", chat())[1])
    choice = answer["choices"][0]
    assert choice["message"]["content"] == f"fake small pid {plain.process.pid}"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"].items() >= {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}.items()


def test_max_tokens_is_exact(start: Callable[..., Fake]) -> None:
    """The answer is repeated or cut to the tokens asked for."""
    fake = start("--answer", "Paris it is")
    answer = json.loads(fake.ask("/v1/completions", {"prompt": "x", "max_tokens": 5})[1])
    assert answer["choices"][0]["text"] == "Paris it is Paris it"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert fake.metric("generation_tokens_total") == 5


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_stream_ends_with_usage_when_asked(start: Callable[..., Fake], path: str) -> None:
    """A stream says the same text as one answer, and its usage in an event of its own."""
    body = chat(prompt="two words", max_tokens=3, stream=True, stream_options={"include_usage": True})
    *parts, usage = events(start("--answer", "a b c").ask(path, body)[1])
    texts = [part["choices"][0].get("text") or part["choices"][0].get("delta", {}).get("content", "") for part in parts]
    assert "".join(texts) == "a b c"
    assert parts[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3


def test_stream_has_no_usage_unless_asked(plain: Fake) -> None:
    """Without `include_usage` every event carries a choice."""
    assert all(event["choices"] for event in events(plain.ask("/v1/chat/completions", chat(stream=True))[1]))


def test_a_stream_comes_token_by_token(start: Callable[..., Fake]) -> None:
    """The first token arrives long before the last one."""
    connection = start("--token-s", "0.05").connect()
    connection.request("POST", "/v1/chat/completions", json.dumps(chat(stream=True, max_tokens=20)))
    began = time.monotonic()
    response = connection.getresponse()
    response.readline()
    first = time.monotonic() - began
    response.read()
    assert first < (time.monotonic() - began) / 2
    connection.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/chat/completions", chat(model="other"), 404, "The model `other` does not exist."),
        ("/v1/chat/completions", {"model": "small"}, 400, "messages or prompt is missing"),
        ("/v1/chat/completions", chat(max_tokens=0), 400, "max_tokens must be"),
        ("/v1/completions", b"{", 400, "the body is not JSON"),
        ("/v1/completions", [], 400, "not a JSON object"),
        ("/v1/embeddings", {"input": None}, 400, "input must be"),
        ("/v1/nothing", None, 404, "there is no GET /v1/nothing"),
    ],
)
def test_errors_have_openai_shape(plain: Fake, path: str, body: object, status: int, said: str) -> None:
    """A client's mistake is answered with an error object, and its status twice."""
    got, text = plain.ask(path, body)
    error = json.loads(text)["error"]
    assert (got, error["code"]) == (status, status)
    assert said in error["message"]


def test_models_embeddings_and_tokens(plain: Fake) -> None:
    """The smaller endpoints answer, always the same for the same input."""
    assert [card["id"] for card in json.loads(plain.ask("/v1/models")[1])["data"]] == ["small"]
    first, second, third = json.loads(plain.ask("/v1/embeddings", {"input": ["a", "b", "a"]})[1])["data"]
    assert first["embedding"] == third["embedding"] != second["embedding"]
    assert json.loads(plain.ask("/tokenize", {"prompt": "one two one"})[1])["count"] == 3


def test_whoami_tells_names_but_no_values(start: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's names are there, what they hold is not."""
    monkeypatch.setenv("SOME_SECRET", "hush-hush")
    fake = start()
    text = fake.ask("/whoami")[1]
    me = json.loads(text)
    assert (me["model"], me["pid"]) == ("small", fake.process.pid)
    assert "--port" in me["argv"]
    assert "SOME_SECRET" in me["env_names"]
    assert "hush-hush" not in text


def test_everything_is_503_until_ready(start: Callable[..., Fake]) -> None:
    """It listens while it starts, and refuses all but the question who it is."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    fake = start("--port", str(port), "--start-s", "60")
    fake.known_port = port
    until(fake.listens)
    assert fake.ask("/whoami")[0] == 200
    assert fake.ask("/health")[0] == 503
    status, text = fake.ask("/v1/chat/completions", chat())
    assert (status, json.loads(text)["error"]["code"]) == (503, 503)


def test_slow_start_delays_health(start: Callable[..., Fake]) -> None:
    """It serves no sooner than `--start-s`."""
    began = time.monotonic()
    assert start("--start-s", "0.5").ask("/health")[0] == 200
    assert time.monotonic() - began >= 0.5


def test_hanging_up_stops_the_generation(start: Callable[..., Fake]) -> None:
    """A client that leaves in the middle frees its place at once, streaming or not."""
    fake = start("--token-s", "0.1")
    for stream in (True, False):
        connection = fake.connect()
        connection.request("POST", "/v1/chat/completions", json.dumps(chat(stream=stream, max_tokens=10_000)))
        until(lambda: fake.metric("num_requests_running") == 1)
        if stream:
            connection.getresponse().close()
        connection.close()
        until(lambda: fake.metric("num_requests_running") == 0)


def test_fails_at_start_in_its_own_words(start: Callable[..., Fake]) -> None:
    """The text told is the last thing it says, and it exits with 1."""
    fake = start("--fail-start", "ValueError: no memory\nfor the KV cache")
    assert fake.process.wait(BOUND_S) == 1
    assert fake.log.read().endswith("ValueError: no memory\nfor the KV cache\n")


def test_port_in_use_is_said(start: Callable[..., Fake]) -> None:
    """A taken port ends it with one line, not a traceback."""
    fake = start()
    fake.connect()
    second = start("--port", str(fake.known_port))
    assert second.process.wait(BOUND_S) == 1
    said = second.log.read()
    assert "address already in use" in said
    assert "Traceback" not in said


def test_crashes_after_so_many_requests(start: Callable[..., Fake]) -> None:
    """The request after the last good one gets no answer, and the process is gone."""
    fake = start("--crash-after", "1")
    assert fake.ask("/v1/chat/completions", chat())[0] == 200
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        fake.ask("/v1/chat/completions", chat())
    assert fake.process.wait(BOUND_S) == 1


def test_hangs_after_so_many_requests(start: Callable[..., Fake]) -> None:
    """The hung request stays in work while health is fine; stopping still works."""
    fake = start("--hang-after", "1")
    assert fake.ask("/v1/chat/completions", chat())[0] == 200
    connection = fake.connect()
    connection.request("POST", "/v1/chat/completions", json.dumps(chat()))
    until(lambda: fake.metric("num_requests_running") == 1)
    assert fake.ask("/health")[0] == 200
    fake.process.send_signal(signal.SIGTERM)
    assert fake.process.wait(BOUND_S) == 0
    connection.close()


def test_a_connection_serves_many_requests_and_chunked_bodies(plain: Fake) -> None:
    """Connections are kept, and a body may come in chunks."""
    connection = plain.connect()
    for _ in range(3):
        connection.request("POST", "/tokenize", iter([b'{"prompt": ', b'"a b"}']), encode_chunked=True)
        with connection.getresponse() as response:
            assert json.loads(response.read())["count"] == 2
    connection.close()


def stream(fake: Fake, path: str, **more: Any) -> list[dict[str, Any]]:
    """The events of a stream that names its events; each name is the event's `type`."""
    text = fake.ask(path, {**chat(), **more, "stream": True})[1]
    found = [(name, json.loads(data)) for name, data in re.findall(r"^event: (.*)\ndata: (.*)$", text, re.MULTILINE)]
    assert all(name == event["type"] for name, event in found)
    return [event for _, event in found]


def test_a_message_of_anthropics(start: Callable[..., Fake]) -> None:
    """The same text whole and as a stream, whose last but one event counts the tokens."""
    fake = start("--answer", "a b c")
    whole = json.loads(fake.ask("/v1/messages", chat(max_tokens=3))[1])
    assert (whole["content"][0]["text"], whole["usage"]) == ("a b c", {"input_tokens": 2, "output_tokens": 3})
    events_ = stream(fake, "/v1/messages", max_tokens=3)
    assert "".join(event["delta"]["text"] for event in events_ if event["type"] == "content_block_delta") == "a b c"
    assert [event["type"] for event in events_[-2:]] == ["message_delta", "message_stop"]
    assert events_[-2]["usage"] == {"input_tokens": 2, "output_tokens": 3}


def test_a_response_of_openais(start: Callable[..., Fake]) -> None:
    """A stream's last event is the answer that comes without a stream."""
    fake = start("--answer", "a b c")
    whole = json.loads(fake.ask("/v1/responses", {"input": "two words"})[1])
    assert whole["output"][0]["content"][0]["text"] == "a b c"
    last = stream(fake, "/v1/responses", input="two words")[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["usage"] == whole["usage"]
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (2, 3)


def test_ranking_and_scores(plain: Fake) -> None:
    """Words in common decide."""
    asked = {"model": "small", "query": "red apple", "documents": ["a blue car", "red apple"]}
    assert [found["index"] for found in json.loads(plain.ask("/rerank", asked)[1])["results"]] == [1, 0]
    pair = {"model": "small", "text_1": "red apple", "text_2": ["red car", "apple"]}
    assert [found["score"] for found in json.loads(plain.ask("/score", pair)[1])["data"]] == [0.5, 1]


def test_a_recording_comes_as_a_form(plain: Fake) -> None:
    """The model is a field of the form, and bytes of any value arrive."""
    for model, status in (("small", 200), ("other", 404)):
        parts = [b'name="file"; filename="a.wav"\r\n\r\n\x00\xff\r\n\x01', b'name="model"\r\n\r\n' + model.encode()]
        body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"
        connection = plain.connect()
        connection.request(
            "POST", "/v1/audio/transcriptions", body, {"content-type": "multipart/form-data; boundary=b"}
        )
        with connection.getresponse() as response:
            answer = json.loads(response.read())
        connection.close()
        assert response.status == status
        assert status != 200 or answer["text"] == "5 bytes"


@pytest.mark.parametrize("size", [5, 300, 70_000])
def test_the_websocket_says_back_what_it_hears(plain: Fake, size: int) -> None:
    """A handshake, a frame that comes back without its mask, and a close that is answered."""
    plain.known_port = plain.known_port or plain.port()
    with socket.create_connection(("127.0.0.1", plain.known_port), timeout=BOUND_S) as line:
        key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        line.sendall(f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n{key}\r\n".encode())
        answer = line.makefile("rb")
        head = b"".join(iter(answer.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        short = {5: b"\x05", 300: b"\x7e" + (300).to_bytes(2, "big")}
        length = short.get(size) or b"\x7f" + size.to_bytes(8, "big")
        masked = bytes([length[0] | 128]) + length[1:] + bytes(4)
        line.sendall(b"\x82" + masked + b"x" * size + b"\x88\x80" + bytes(4))
        assert answer.read() == b"\x82" + length + b"x" * size + b"\x88\x00"


def test_it_lists_its_routes(plain: Fake) -> None:
    """As OpenAPI does; each one that is listed is there."""
    paths = json.loads(plain.ask("/openapi.json")[1])["paths"]
    assert set(paths["/v1/chat/completions"]) == {"post"}
    for path, methods in paths.items():
        assert plain.ask(path, None if "get" in methods else {})[0] != 404, path
