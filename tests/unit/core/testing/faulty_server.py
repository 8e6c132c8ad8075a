"""The fake engine's server with one fault: `faulty_server.py FAULT` and the fake server's flags."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from importlib import import_module
from typing import Any


def _module(name: str) -> Any:
    """A module of the fake server, to be changed at will."""
    return import_module(f"rayllm.testing.fake_openai.{name}")


program, server, wire = (_module(name) for name in ("program", "server", "wire"))
FAULT = sys.argv.pop(1)
SLOW = {"held back": "0.02", "deaf": "0.05"}
"""Seconds for each token, where the fault shows in time alone."""


def able() -> None:
    """It answers in the form that is asked for and calls the function that it is told to, but for faults of these."""
    generate = server.Server.generate

    async def more(self: Any, request: Any, writer: Any) -> Any:
        body = request.json()
        said: dict[str, Any] = {}
        if body.get("response_format") and FAULT != "any form":
            said = {"content": '{ "wet": true }' if FAULT != "another form" else '{ "sea": true }'}
        elif isinstance(body.get("tool_choice"), dict) and FAULT != "tools left out":
            said = {"tool_calls": [{"id": "1", "function": {"name": "get_tide", "arguments": "{}"}}]}
        elif "tools" in body and FAULT == "odd calls":
            said = {"tool_calls": [{"name": "get_tide", "arguments": {}}]}
        if said:
            return await server.send_json(writer, {"choices": [{"message": {"role": "assistant", **said}}]})
        return await generate(self, request, writer)

    server.Server.generate = more


def blind() -> None:
    """Pictures are left out of what the model is given."""
    tokens = server.prompt_tokens

    def of_text(body: Any) -> Any:
        parts = body.get("messages", [{}])[0].get("content")
        texts = [part["text"] for part in parts if "text" in part] if isinstance(parts, list) else []
        return tokens({"prompt": " ".join(texts)} if texts else body)

    server.prompt_tokens = of_text


def no_pictures() -> None:
    """What makes a mistake of it is no error that a client reads."""
    dialect = server.Server.dialect

    def without(self: Any, path: str, body: Any, finish: str) -> Any:
        if isinstance(body.get("messages", [{}])[0].get("content"), list):
            raise _odd(wire.Failure(500, "no picture, please"))
        return dialect(self, path, body, finish)

    server.Server.dialect = without


def _odd(failure: Any) -> Any:
    failure.body = {"detail": "TypeError"}
    return failure


def no_vectors() -> None:
    """There is no such path."""
    del server.COMPUTED["POST /v1/embeddings"]


def bare_vectors() -> None:
    """Vectors, and nothing around them."""
    server.COMPUTED["POST /v1/embeddings"] = lambda *_: {"data": [[0.5], [0.25]]}


def best_rank_alone() -> None:
    """One document of all."""
    ranking = server.COMPUTED["POST /v1/rerank"]
    server.COMPUTED["POST /v1/rerank"] = lambda *told: {"results": ranking(*told)["results"][:1]}


def ready_too_early() -> None:
    """The server's health is fine before it serves."""
    answer = server.Server.answer

    async def too_early(self: Any, request: Any, writer: Any) -> Any:
        if request.path == "/health":
            return await wire.send_text(writer, "", "text/plain")
        return await answer(self, request, writer)

    server.Server.answer = too_early
    sys.argv += ["--start-s", "0.5"]


def another_name() -> None:
    """The list of models is somebody else's."""

    async def models(_: Any, writer: Any) -> None:
        await wire.send_json(writer, {"object": "list", "data": [{"id": "another"}]})

    server.PLAIN["GET /v1/models"] = models


def odd_answers() -> None:
    """Whole answers have a shape of their own."""
    send_json = wire.send_json

    async def odd(writer: Any, value: Any, status: int = 200) -> None:
        await send_json(writer, {"said": "hi"} if "choices" in value else value, status)

    server.send_json = odd


def held_back() -> None:
    """Events are sent all at once, at the end."""
    kept: list[object] = []
    end_events, send_event = wire.end_events, wire.send_event

    async def keep(_: Any, value: object) -> None:
        kept.append(value)

    async def end(writer: Any) -> None:
        for value in kept:
            await send_event(writer, value)
        kept.clear()
        await end_events(writer)

    server.send_event, server.end_events = keep, end


def deaf() -> None:
    """A generation goes on when its client has left."""
    wire.Reader.feed_eof = asyncio.StreamReader.feed_eof
    wire.Reader.set_exception = asyncio.StreamReader.set_exception

    async def send(writer: Any, data: bytes) -> None:
        if not writer.is_closing():
            writer.write(data)

    wire.send = send


def no_counter() -> None:
    """One of the metrics is called otherwise."""
    metrics = server.Server.metrics
    server.Server.metrics = lambda self: metrics(self).replace("generation_tokens", "made")


def plain_errors() -> None:
    """Errors are not as OpenAI's."""
    init = wire.Failure.__init__

    def plain(self: Any, status: int, message: str, *args: Any) -> None:
        init(self, status, message, *args)
        self.body = {"detail": message}

    wire.Failure.__init__ = plain


def everywhere() -> None:
    """It listens on all addresses, whatever it is told."""
    sys.argv[sys.argv.index("--host") + 1] = "0.0.0.0"  # noqa: S104


def dies() -> None:
    """It ends before it serves."""
    sys.argv += ["--fail-start", "ValueError: no such quantization"]


def stubborn() -> None:
    """SIGTERM is nothing to it."""

    async def serve(*args: Any) -> Any:
        asyncio.get_running_loop().call_later(0, signal.signal, signal.SIGTERM, signal.SIG_IGN)
        return await honest(*args)

    honest, program.serve = program.serve, serve


def stubborn_child() -> None:
    """It leaves a process behind to which SIGTERM is nothing."""
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


if __name__ == "__main__":
    if FAULT in SLOW:
        sys.argv += ["--token-s", SLOW[FAULT]]
    able()
    globals().get(FAULT.replace(" ", "_"), lambda: None)()
    sys.exit(program.main())
