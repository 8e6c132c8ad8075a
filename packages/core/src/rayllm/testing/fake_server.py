"""An OpenAI-compatible server without a model, as a process: what the fake engine runs.

Only the standard library, one file, so that any Python >= 3.10 runs it with `-I`. It is told by flags to be slow, to
fail, to crash or to hang, and its default answer names the model and the process, so that replicas can be told apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


class Failure(Exception):  # noqa: N818 (it is an answer, not a bug)
    """An answer in OpenAI's error shape."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


@dataclass
class Request:
    """One HTTP request, read completely."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Failure(400, f"the body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise Failure(400, "the body is not a JSON object")
        return value


class Reader(asyncio.StreamReader):
    """Tells at once when the client hangs up, also while nobody reads."""

    on_gone: Callable[[], object] = staticmethod(lambda: None)

    def feed_eof(self) -> None:
        """The client closed its side."""
        super().feed_eof()
        self.on_gone()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        super().set_exception(exc)
        self.on_gone()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target.partition("?")[0], headers, body)


@dataclass
class Knobs:
    """What the server was told to be; `fake_engine.FakeOptions` describes each."""

    model: str
    answer: str
    start_s: float = 0
    token_s: float = 0
    fail_start: str | None = None
    crash_after: int | None = None
    hang_after: int | None = None


@dataclass
class Server:
    """The state of one fake engine, and its answers."""

    knobs: Knobs
    ready: bool = False
    running: int = 0
    taken: int = 0
    """Generating requests so far; what `crash_after` and `hang_after` count."""
    tokens: int = 0
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client hangs up, which also ends a request in work."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine that runs has a task)
        assert isinstance(reader, Reader)  # noqa: S101 (made in `serve`)
        reader.on_gone = task.cancel
        self.connections.add(task)
        try:
            while await self.answer_next(reader, writer):
                pass
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            self.connections.discard(task)
            writer.close()

    async def answer_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is done."""
        try:
            request = await read_request(reader)
            if request is None:
                return False
            await self.answer(request, writer)
        except Failure as failure:
            await send_json(writer, failure.body, failure.status)
            return True
        return request.headers.get("connection", "").lower() != "close"

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Send the answer to `request`."""
        value: object
        match request.method, request.path:
            case "GET", "/whoami":
                value = whoami(self.knobs.model)
            case _ if not self.ready:
                raise Failure(503, "the engine is starting", "ServiceUnavailableError")
            case "GET", "/health":
                return await send(writer, head(200, "text/plain", 0))
            case "GET", "/metrics":
                text = self.metrics().encode()
                return await send(writer, head(200, "text/plain; version=0.0.4; charset=utf-8", len(text)) + text)
            case "GET", "/v1/models":
                card = {"id": self.knobs.model, "object": "model", "created": int(time.time()), "owned_by": "rayllm"}
                value = {"object": "list", "data": [card]}
            case "POST", "/v1/chat/completions" | "/v1/completions":
                return await self.complete(request.json(), writer, chat="chat" in request.path)
            case "POST", "/v1/embeddings":
                value = self.embeddings(request.json())
            case "POST", "/tokenize":
                tokens = prompt_tokens(self.asked(request.json()))
                value = {"count": len(tokens), "max_model_len": 2048, "tokens": tokens}
            case _:
                raise Failure(404, f"there is no {request.method} {request.path}", "NotFoundError")
        return await send_json(writer, value)

    def asked(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body`, if it asks for this server's model."""
        model = body.get("model", self.knobs.model)
        if model != self.knobs.model:
            raise Failure(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
        return body

    async def complete(self, body: dict[str, Any], writer: asyncio.StreamWriter, *, chat: bool) -> None:
        """Answer a completion, at once or as a stream."""
        prompt, count = len(prompt_tokens(self.asked(body))), self.count_of(body)
        finish = "stop" if count is None else "length"
        shape = Shape(self.knobs.model, chat=chat)
        with self.in_work():
            await self.misbehave()
            texts = self.generate(count or len(self.knobs.answer.split()))
            if not body.get("stream"):
                words = [text async for text in texts]
                usage = usage_of(prompt, len(words))
                return await send_json(writer, shape.whole("".join(words), finish, usage))
            await send(writer, head(200, "text/event-stream; charset=utf-8", None))
            done = 0
            async for text in texts:
                done += 1
                await send_event(writer, shape.part(text, None, first=done == 1))
            await send_event(writer, shape.part("", finish, first=False))
            if (body.get("stream_options") or {}).get("include_usage"):
                await send_event(
                    writer, {**shape.envelope(stream=True), "choices": [], "usage": usage_of(prompt, done)}
                )
            await send(writer, chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        return None

    @contextlib.contextmanager
    def in_work(self) -> Iterator[None]:
        """Count a generating request while it is in work, however it ends."""
        self.taken += 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def misbehave(self) -> None:
        """Crash or hang if this request is past the number that were to be answered."""
        if self.knobs.crash_after is not None and self.taken > self.knobs.crash_after:
            log(f"fake engine: crashes, as told, after {self.knobs.crash_after} requests")
            os._exit(1)
        if self.knobs.hang_after is not None and self.taken > self.knobs.hang_after:
            log(f"fake engine: hangs, as told, after {self.knobs.hang_after} requests")
            await asyncio.Event().wait()

    async def generate(self, count: int) -> AsyncIterator[str]:
        """Yield `count` tokens: the answer's words, again and again."""
        words = self.knobs.answer.split()
        for index in range(count):
            await asyncio.sleep(self.knobs.token_s)
            self.tokens += 1
            yield words[index % len(words)] if index == 0 else " " + words[index % len(words)]

    def count_of(self, body: dict[str, Any]) -> int | None:
        """How many tokens were asked for; None leaves it to the answer."""
        count = body.get("max_completion_tokens", body.get("max_tokens"))
        if count is not None and (not isinstance(count, int) or count < 1):
            raise Failure(400, f"max_tokens must be a whole number from 1 up, not {count!r}", param="max_tokens")
        return count

    def embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        """Eight numbers from 0 to 1 for each input: the same text, the same numbers."""
        given = self.asked(body).get("input")
        texts: list[Any] = given if isinstance(given, list) else [given]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise Failure(400, "input must be a string or a list of strings", param="input")
        vectors = [[byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]] for text in texts]
        prompt = sum(len(text.split()) for text in texts)
        return {
            "object": "list",
            "model": self.knobs.model,
            "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": prompt, "total_tokens": prompt},
        }

    def metrics(self) -> str:
        """Prometheus text under vLLM's own names."""
        rows = [
            ("vllm:num_requests_running", "gauge", "Number of requests in model execution batches.", self.running),
            ("vllm:num_requests_waiting", "gauge", "Number of requests waiting to be processed.", 0),
            ("vllm:generation_tokens_total", "counter", "Number of generation tokens processed.", self.tokens),
        ]
        label = f'{{engine="0",model_name="{self.knobs.model}"}}'
        return "".join(
            f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name}{label} {float(value)}\n"
            for name, kind, text, value in rows
        )


class Shape:
    """The JSON of one completion: a chat's or a plain one's."""

    def __init__(self, model: str, *, chat: bool) -> None:
        self.chat = chat
        self.model = model
        self.id = ("chatcmpl-" if chat else "cmpl-") + os.urandom(8).hex()
        self.created = int(time.time())

    def envelope(self, *, stream: bool) -> dict[str, Any]:
        """What every answer of this completion carries."""
        kind = "text_completion" if not self.chat else "chat.completion.chunk" if stream else "chat.completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def whole(self, text: str, finish: str, usage: dict[str, int]) -> dict[str, Any]:
        """The answer in one piece."""
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return {**self.envelope(stream=False), "choices": [choice], "usage": usage}

    def part(self, text: str, finish: str | None, *, first: bool) -> dict[str, Any]:
        """One event of a stream."""
        role = {"role": "assistant"} if first else {}
        said: dict[str, Any] = {"delta": {**role, "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return {**self.envelope(stream=True), "choices": [choice]}


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """OpenAI's usage block."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def prompt_tokens(body: dict[str, Any]) -> list[int]:
    """A token for every word of the messages or the prompt."""
    given = body.get("messages", body.get("prompt"))
    if not given or not isinstance(given, (str, list)):
        raise Failure(400, "messages or prompt is missing or empty", param="messages")
    parts = [given] if isinstance(given, str) else given
    words = " ".join(str(part.get("content")) if isinstance(part, dict) else str(part) for part in parts).split()
    return [int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "big") for word in words]


def whoami(model: str) -> dict[str, Any]:
    """Which process this is; of the environment the names alone, for a value may be a secret."""
    return {"model": model, "pid": os.getpid(), "argv": sys.orig_argv, "env_names": sorted(os.environ)}


def head(status: int, content_type: str, length: int | None) -> bytes:
    """The head of an answer; without a length the body comes in chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    phrase = HTTPStatus(status).phrase
    return f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of HTTP's chunked coding."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write and wait until the client takes it."""
    writer.write(data)
    await writer.drain()


async def send_json(writer: asyncio.StreamWriter, value: object, status: int = 200) -> None:
    """Send a whole JSON answer."""
    data = json.dumps(value).encode()
    await send(writer, head(status, "application/json", len(data)) + data)


async def send_event(writer: asyncio.StreamWriter, value: object) -> None:
    """Send one event of a stream."""
    await send(writer, chunk(b"data: " + json.dumps(value).encode() + b"\n\n"))


def log(line: str) -> None:
    """One line of the engine's log."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def serve(knobs: Knobs, model_path: str, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(knobs)
    listener = await loop.create_server(
        lambda: asyncio.StreamReaderProtocol(Reader(), server.connected), host, port, backlog=1024
    )
    log(f"fake engine: loads {model_path}")
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), max(knobs.start_s, 0.001))
    if knobs.fail_start is not None and not stop.is_set():
        log(knobs.fail_start)
        return 1
    server.ready = True
    log(f"fake engine: serves {knobs.model} on {host}:{listener.sockets[0].getsockname()[1]}")
    await stop.wait()
    listener.close()
    for task in list(server.connections):
        task.cancel()
    await asyncio.gather(*server.connections)
    log("fake engine: stopped")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns the exit status."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server without a model.")
    parser.add_argument("--model-path", default="nothing", help="only logged: there is no model")
    parser.add_argument("--model", required=True, help="the name that clients send")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one; the log names it")
    parser.add_argument("--answer", help="what it says; by default its model and process")
    parser.add_argument("--start-s", type=float, default=0.0, help="seconds until it is ready")
    parser.add_argument("--token-s", type=float, default=0.0, help="seconds for each token")
    parser.add_argument("--fail-start", metavar="TEXT", help="print TEXT instead of getting ready, and exit with 1")
    parser.add_argument("--crash-after", type=int, metavar="N", help="answer N generating requests, die on the next")
    parser.add_argument("--hang-after", type=int, metavar="N", help="answer N generating requests, never one more")
    told = vars(parser.parse_args(arguments))
    model_path, host, port = told.pop("model_path"), told.pop("host"), told.pop("port")
    told["answer"] = told["answer"] or f"fake {told['model']} pid {os.getpid()}"
    try:
        return asyncio.run(serve(Knobs(**told), model_path, host, port))
    except OSError as error:
        log(f"fake engine: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
