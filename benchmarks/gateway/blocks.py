"""What each gateway is asked in every round, and what is taken down of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gateway.asking import Taken

KIB, MIB = 1000, 1_000_000
CPU_REQUEST, CPU_CHUNK, CPU_PACED = (
    "CPU for a JSON request",
    "CPU for a chunk, saturated",
    "CPU for a chunk, 20 ms apart",
)
P50_ONE, P99_ONE = (f"answer, {name}, 1 KB prompt, 1 client" for name in ("p50", "p99"))
P50_MIB = "answer, p50, 1 MB prompt"
PACE_MS, THINK_MS = 20, 250

Value = Callable[[Taken], float]


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of work, and the rows that come of it: what, unit, value."""

    work: Mapping[str, Any]
    rows: Sequence[tuple[str, str, Value]]


def _cpu(taken: Taken) -> float:
    return taken.cpu_each_us


def _chunk(taken: Taken) -> float:
    return taken.cpu_chunk_us


def _rate(taken: Taken) -> float:
    return taken.each_second


def _p50(taken: Taken) -> float:
    return taken.p50_ms


def _p99(taken: Taken) -> float:
    return taken.p99_ms


def _first(taken: Taken) -> float:
    return taken.first_ms


def _thinking(clients: int) -> Block:
    rows = [(f"answer, {name}, {clients} clients", "ms", value) for name, value in (("p50", _p50), ("p99", _p99))]
    return Block({"clients": clients, "think_ms": THINK_MS}, rows)


def _body(what: str, size: int) -> Block:
    return Block({"prompt_bytes": size}, [(f"answer, p50, {what} prompt", "ms", _p50)])


MOCK: tuple[Block, ...] = (
    Block({"clients": 1}, [(P50_ONE, "ms", _p50), (P99_ONE, "ms", _p99)]),
    Block({"clients": 32}, [(CPU_REQUEST, "µs", _cpu), ("requests, 32 clients", "/s", _rate)]),
    Block({"clients": 256}, [("requests, 256 clients", "/s", _rate)]),
    _thinking(32),
    _thinking(256),
    Block(
        {"clients": 32, "stream": True, "tokens": 64},
        [(CPU_CHUNK, "µs", _chunk), ("streams, 32 clients", "/s", _rate)],
    ),
    Block(
        {"clients": 64, "stream": True, "tokens": 32, "gap_ms": PACE_MS},
        [(CPU_PACED, "µs", _chunk)],
    ),
    Block(
        {"clients": 1, "stream": True, "tokens": 2, "gap_ms": PACE_MS},
        [("first chunk, p50, 1 client", "ms", _first)],
    ),
    _body("100 KB", 100 * KIB),
    _body("1 MB", MIB),
    _body("10 MB", 10 * MIB),
)
"""In front of the mock engine. Where 32 or 256 clients are timed, the engine thinks, so that nothing is saturated."""

VLLM: tuple[Block, ...] = (
    Block({"clients": 1, "tokens": 8}, [(P50_ONE, "ms", _p50)]),
    Block({"clients": 8, "tokens": 8}, [("requests, 8 clients", "/s", _rate), (CPU_REQUEST, "µs", _cpu)]),
    Block(
        {"clients": 8, "tokens": 32, "stream": True},
        [
            ("first chunk, p50, 8 clients", "ms", _first),
            ("streams, 8 clients", "/s", _rate),
            ("CPU for a chunk", "µs", _chunk),
        ],
    ),
    _body("1 MB", MIB),
)
"""In front of a real engine, of which a core is busy with one request."""
