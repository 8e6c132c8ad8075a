"""The fake engine's command line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from rayllm.testing.fake_openai.meeting import Meeting
from rayllm.testing.fake_openai.server import Knobs, Server
from rayllm.testing.fake_openai.wire import Reader, log

T = TypeVar("T")


async def serve(knobs: Knobs, model_path: str, host: str, port: int, meeting: Meeting | None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if meeting and meeting.rank:
        return await follow(knobs, meeting, stop)
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
    if meeting:
        await unless(stop, meeting.lead(server.lose))
    server.ready = True
    log(f"fake engine: serves {knobs.model} on {host}:{listener.sockets[0].getsockname()[1]}")
    await stop.wait()
    listener.close()
    for task in list(server.connections):
        task.cancel()
    await asyncio.gather(*server.connections)
    log("fake engine: stopped")
    return 0


async def follow(knobs: Knobs, meeting: Meeting, stop: asyncio.Event) -> int:
    """Be a further rank until SIGTERM or SIGINT; returns the exit status."""
    if knobs.fail_start is not None:
        log(knobs.fail_start)
        return 1
    kept = await unless(stop, meeting.follow())
    await stop.wait()
    if kept:
        kept.close()
    return 0


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None if it is to stop before."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return working.result() if working.done() else None


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
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="node ranks of this engine")
    parser.add_argument("--rank", type=int, default=0, metavar="N", help="which of them this is")
    parser.add_argument("--meet", metavar="HOST:PORT", help="where they meet, on rank 0's node")
    parser.add_argument("--fail-rank", type=int, default=0, metavar="N", help="the rank that --fail-start is for")
    parser.add_argument("--enable-lora", choices=["True"], help="take adapters, at /v1/load_lora_adapter")
    parser.add_argument("--max-loras", type=int, default=3, metavar="N", help="adapters that it holds, at most")
    parser.add_argument("--max-lora-rank", type=int, default=16, metavar="N", help="the highest rank of any")
    told = vars(parser.parse_args(arguments))
    meeting = meeting_of(told)
    model_path, host, port = told.pop("model_path"), told.pop("host"), told.pop("port")
    told["answer"] = told["answer"] or f"fake {told['model']} pid {os.getpid()}"
    try:
        return asyncio.run(serve(Knobs(**told), model_path, host, port, meeting))
    except OSError as error:
        log(f"fake engine: {error}")
        return 1


def meeting_of(told: dict[str, Any]) -> Meeting | None:
    """Take what the ranks are told out of the arguments."""
    nodes, rank, place = told.pop("nodes"), told.pop("rank"), told.pop("meet")
    if told.pop("fail_rank") != rank:
        told["fail_start"] = None
    if place is None:
        return None
    host, _, port = place.rpartition(":")
    return Meeting(nodes, rank, host, int(port))
