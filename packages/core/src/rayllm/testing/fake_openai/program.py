"""The fake engine's command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from rayllm.testing.fake_openai.server import Knobs, Server
from rayllm.testing.fake_openai.wire import Reader, log


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
