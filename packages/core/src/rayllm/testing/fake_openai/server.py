"""The state of one fake engine, and its answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rayllm.testing.fake_openai import vectors, websocket
from rayllm.testing.fake_openai.adapters import Adapters
from rayllm.testing.fake_openai.dialects import Completion, Dialect, Message, Response
from rayllm.testing.fake_openai.prompts import prompt_tokens, tokens_wanted
from rayllm.testing.fake_openai.wire import (
    Failure,
    Reader,
    Request,
    begin_events,
    end_events,
    log,
    read_request,
    send_event,
    send_json,
    send_text,
)


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
    enable_lora: str | None = None
    max_loras: int = 3
    max_lora_rank: int = 16


@dataclass
class Server:
    """One fake engine."""

    knobs: Knobs
    ready: bool = False
    running: int = 0
    taken: int = 0
    """Generating requests so far; what `crash_after` and `hang_after` count."""
    tokens: int = 0
    lost: bool = False
    """A further node rank is gone: nothing is generated any more."""
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        knobs = self.knobs
        self.adapters = Adapters(
            knobs.model, knobs.enable_lora is not None, most=knobs.max_loras, highest=knobs.max_lora_rank
        )

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until the client hangs up, which also ends a request in work."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine that runs has a task)
        assert isinstance(reader, Reader)  # noqa: S101 (made in `program.serve`)
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
            if (request.method, request.path) == ("GET", "/v1/realtime"):
                await websocket.echo(request, reader, writer)
                return False
            await self.answer(request, writer)
        except Failure as failure:
            await send_json(writer, failure.body, failure.status)
            return True
        return request.headers.get("connection", "").lower() != "close"

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Send the answer to `request`."""
        asked = f"{request.method} {request.path}"
        if not self.ready and request.path != "/whoami":
            raise Failure(503, "the engine is starting", "ServiceUnavailableError")
        if plain := PLAIN.get(asked):
            await plain(self, writer)
        elif asked in GENERATING:
            await self.generate(request, writer)
        elif computed := COMPUTED.get(asked):
            await send_json(writer, computed(self.knobs.model, self.asked(request.json())))
        elif asked == TRANSCRIBING:
            form = request.form()
            self.asked({name: value.decode() for name, value in form.items() if name == "model"})
            await send_json(writer, vectors.transcript(self.knobs.model, form))
        elif (said := self.adapters.change(asked, request.json())) is not None:
            await send_text(writer, said, "text/plain")
        else:
            raise Failure(404, f"there is no {asked}", "NotFoundError")

    def asked(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body`, if it asks for this server's model, or one of its adapters."""
        model = body.get("model", self.knobs.model)
        if model != self.knobs.model and model not in self.adapters.loaded:
            raise Failure(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
        return body

    async def generate(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Answer with a generated text, at once or as a stream."""
        body = self.asked(request.json())
        count = tokens_wanted(body)
        dialect = self.dialect(request.path, body, "stop" if count is None else "length")
        with self.in_work():
            await self.misbehave()
            words = []
            named = body.get("model") in self.adapters.loaded
            answer = f"fake {body['model']} pid {os.getpid()}" if named else self.knobs.answer
            texts = self.words(answer.split(), count)
            if not body.get("stream"):
                words = [text async for text in texts]
                return await send_json(writer, dialect.whole("".join(words), len(words)))
            await begin_events(writer)
            for event in dialect.opening():
                await send_event(writer, event)
            async for text in texts:
                words.append(text)
                await send_event(writer, dialect.part(text, len(words)))
            for event in dialect.closing("".join(words), len(words)):
                await send_event(writer, event)
            await end_events(writer)
        return None

    def dialect(self, path: str, body: dict[str, Any], finish: str) -> Dialect:
        """The answer's shape."""
        prompt, model = len(prompt_tokens(body)), body.get("model", self.knobs.model)
        if path == "/v1/messages":
            return Message(model, prompt, finish)
        if path == "/v1/responses":
            return Response(model, prompt)
        return Completion(model, body, prompt, finish, chat="chat" in path)

    @contextlib.contextmanager
    def in_work(self) -> Iterator[None]:
        """Count a generating request while it is in work, however it ends."""
        self.taken += 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def lose(self) -> None:
        """A further rank is gone."""
        log("fake engine: lost a rank")
        self.lost = True

    async def misbehave(self) -> None:
        """Hang if a rank is gone; crash or hang if this request is past the number that were to be answered."""
        if self.lost:
            await asyncio.Event().wait()
        if self.knobs.crash_after is not None and self.taken > self.knobs.crash_after:
            log(f"fake engine: crashes, as told, after {self.knobs.crash_after} requests")
            os._exit(1)
        if self.knobs.hang_after is not None and self.taken > self.knobs.hang_after:
            log(f"fake engine: hangs, as told, after {self.knobs.hang_after} requests")
            await asyncio.Event().wait()

    async def words(self, words: list[str], count: int | None) -> AsyncIterator[str]:
        """Yield `count` tokens, an answer's words again and again; by default each once."""
        for index in range(count or len(words)):
            await asyncio.sleep(self.knobs.token_s)
            self.tokens += 1
            yield words[index % len(words)] if index == 0 else " " + words[index % len(words)]

    async def whoami(self, writer: asyncio.StreamWriter) -> None:
        """Which process this is; of the environment the names alone, for a value may be a secret."""
        names = sorted(os.environ)
        said = {"model": self.knobs.model, "pid": os.getpid(), "argv": sys.orig_argv, "env_names": names}
        await send_json(writer, said)

    async def health(self, writer: asyncio.StreamWriter) -> None:
        """Nothing: the status tells."""
        await send_text(writer, "", "text/plain")

    async def models(self, writer: asyncio.StreamWriter) -> None:
        """The one model, and its adapters."""
        card = {"id": self.knobs.model, "object": "model", "created": int(time.time()), "owned_by": "rayllm"}
        await send_json(writer, {"object": "list", "data": [card, *self.adapters.cards()]})

    async def openapi(self, writer: asyncio.StreamWriter) -> None:
        """Every route, as engines built with FastAPI list theirs."""
        paths: dict[str, dict[str, Any]] = {}
        for route in (*PLAIN, *GENERATING, *COMPUTED, TRANSCRIBING):
            method, path = route.split()
            paths.setdefault(path, {})[method.lower()] = {"responses": {}}
        info = {"title": "fake engine", "version": "1"}
        await send_json(writer, {"openapi": "3.1.0", "info": info, "paths": paths})

    async def tell_metrics(self, writer: asyncio.StreamWriter) -> None:
        """What `metrics` says."""
        await send_text(writer, self.metrics(), "text/plain; version=0.0.4; charset=utf-8")

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


PLAIN: dict[str, Callable[[Server, asyncio.StreamWriter], Awaitable[None]]] = {
    "GET /health": Server.health,
    "GET /metrics": Server.tell_metrics,
    "GET /openapi.json": Server.openapi,
    "GET /v1/models": Server.models,
    "GET /whoami": Server.whoami,
}
GENERATING = frozenset({"POST /v1/chat/completions", "POST /v1/completions", "POST /v1/messages", "POST /v1/responses"})
COMPUTED: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "POST /rerank": vectors.ranking,
    "POST /score": vectors.scores,
    "POST /tokenize": vectors.tokens,
    "POST /v1/embeddings": vectors.embeddings,
    "POST /v1/rerank": vectors.ranking,
    "POST /v1/score": vectors.scores,
}
TRANSCRIBING = "POST /v1/audio/transcriptions"
