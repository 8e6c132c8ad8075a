"""A closed loop of streaming chat requests, run as a process of its own: `python -m benchmarks.load URL --model M`.

It prints one line of JSON. Events are only stamped and kept while requests run; they are read when all are through, so
that the client's own work stays small beside what it measures. Any answer that is not whole ends it with a message.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from benchmarks.pairs import percentile

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked."""

    url: str
    model: str
    clients: int
    requests: int
    """Of each client, one after the other."""
    tokens: int
    """Of each answer."""
    serial: int
    """Number of the first prompt: no prompt is asked twice in a run, so that no side finds it in a cache."""

    def body(self, number: int) -> bytes:
        """A request; its work depends on nothing but the number of digits."""
        prompt = f"Note {self.serial + number:07d}. Tell me in many words what you see from a mountain in the morning."
        asked = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return json.dumps(asked).encode()


@dataclass(slots=True)
class Taken:
    """One answer as it came; times in seconds."""

    began: float
    chunks: list[tuple[float, bytes]] = field(default_factory=list)

    def read(self, tokens: int) -> tuple[float, list[float]]:
        """Seconds to the first token, and between the following events with text.

        Raises:
            SystemExit: the answer is not the one that was asked for.
        """
        times: list[float] = []
        usage: dict[str, Any] = {}
        done, rest = False, b""
        for at, chunk in self.chunks:
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                data = event.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    done = True
                    continue
                content = json.loads(data)
                usage = content.get("usage") or usage
                if any(choice["delta"].get("content") for choice in content.get("choices", [])):
                    times.append(at)
        if not done or rest.strip() or usage.get("completion_tokens") != tokens or not times:
            raise SystemExit(f"an answer is not whole: done={done} usage={usage} events={len(times)} rest={rest!r}")
        return times[0] - self.began, [late - soon for soon, late in itertools.pairwise(times)]


async def ask(session: aiohttp.ClientSession, load: Load, number: int) -> Taken:
    """Ask once.

    Raises:
        SystemExit: the answer is an error.
    """
    taken = Taken(time.perf_counter())
    async with session.post(f"{load.url}/v1/chat/completions", data=load.body(number)) as answer:
        if answer.status != 200:  # noqa: PLR2004
            raise SystemExit(f"{load.url} answers {answer.status}: {await answer.text()}")
        async for chunk in answer.content.iter_any():
            taken.chunks.append((time.perf_counter(), chunk))
    return taken


async def run(load: Load) -> dict[str, Any]:
    """Ask it all. Each client's first request opens its connection and is not counted."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"content-type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as session:

        async def client(first: int, count: int) -> list[Taken]:
            return [await ask(session, load, first + number) for number in range(count)]

        await asyncio.gather(*(client(index, 1) for index in range(load.clients)))
        began = time.perf_counter()
        taken = await asyncio.gather(
            *(client(load.clients + index * load.requests, load.requests) for index in range(load.clients))
        )
        wall = time.perf_counter() - began
    answers = [answer.read(load.tokens) for client_ in taken for answer in client_]
    gaps = [gap for _, between in answers for gap in between]
    return {
        "tokens_s": len(answers) * load.tokens / wall,
        "ttft_ms": [round(first * 1000, 3) for first, _ in answers],
        "itl_p50_ms": statistics.median(gaps) * 1000 if gaps else 0.0,
        "itl_p99_ms": percentile(gaps, 99) * 1000 if gaps else 0.0,
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    for name in ("clients", "requests", "tokens", "serial"):
        parser.add_argument(f"--{name}", type=int, required=True)
    print(json.dumps(asyncio.run(run(Load(**vars(parser.parse_args()))))))


if __name__ == "__main__":
    main()
