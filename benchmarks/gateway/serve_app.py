"""The mock engine in a replica of Ray Serve, behind Serve's own proxy: `python -m benchmarks.gateway.serve_app PORT`.

There is no second hop to an engine: Serve's proxy passes a request to the replica, which answers itself.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import ray
from benchmarks.gateway.mock import TASK, WORD, answer_of, chunks_of
from ray import serve

Message = dict[str, Any]


async def engine(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """As an ASGI application."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        part = await receive()
        body += part.get("body", b"")
        if not part.get("more_body"):
            break
    found = TASK.search(body[:16384])
    tokens, think_ms, gap_ms = map(int, found.groups()) if found else (1, 0, 0)
    await asyncio.sleep(think_ms / 1000)
    stream = re.search(rb'"stream": *true', body[-1024:]) is not None
    kind = b"text/event-stream" if stream else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    if not stream:
        await send({"type": "http.response.body", "body": answer_of(tokens)})
        return
    for event in chunks_of(tokens):
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(gap_ms / 1000 if WORD in event else 0)
    await send({"type": "http.response.body", "body": b""})


@serve.ingress(lambda: engine)  # a function is taken for one that makes the application
class Mock:
    """One replica."""


def main() -> None:
    """Run as a program, until the input ends."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(serve.deployment(max_ongoing_requests=4096)(Mock).bind(), route_prefix="/")
    print("ready", flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
