"""A thousand models with four replicas each beside one model, and thousands of connections that nobody uses."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from benchmarks.gateway import contenders
from benchmarks.gateway.asking import Asker
from benchmarks.gateway.blocks import PACE_MS
from benchmarks.gateway.client import Work
from benchmarks.gateway.contenders import KEY, Change, Engine, Side
from benchmarks.gateway.processes import cpu_us, resident_mib
from benchmarks.results import Comparison, Figure, Result

REPLICAS = 4
FEW, MANY = "1 model", "many models"


@dataclass(frozen=True, slots=True)
class Setting:
    """How much of it."""

    rounds: int
    seconds: float
    """Of each block, and of looking on while nobody asks."""
    models: int
    idle: int
    """Connections."""
    streams: int


FULL, QUICK = Setting(10, 1.2, 1000, 5000, 200), Setting(1, 0.1, 20, 50, 10)


@dataclass(frozen=True, slots=True)
class AtRest:
    """What a gateway does while nobody asks."""

    checks: float
    """Connections to its engines, each second."""
    busy: float
    """Percent of a core."""
    mib: float
    """Memory."""


def measure(setting: Setting) -> Result:
    """Run it all."""
    names = [f"model-{number}" for number in range(setting.models)]
    with tempfile.TemporaryDirectory() as place, closing(Asker()) as client, ExitStack() as stack:
        engine = stack.enter_context(contenders.engine(Path(place), setting.models * REPLICAS))
        told = {"engine_port": engine.port, "replicas": REPLICAS}
        few, _ = stack.enter_context(contenders.rayllm(FEW, Path(place), {**told, "models": names[:1]}))
        alone = at_rest(few, engine, setting)
        many, change = stack.enter_context(contenders.rayllm(MANY, Path(place), {**told, "models": names}))
        both = at_rest(many, engine, setting)
        comparisons = choices(client, few, many, names, setting)
        served, memory = changes(change, many, names, setting.rounds)
        streams = crowd(client, few, names[0], setting)
    every = f"{setting.models * REPLICAS} replicas"
    figures = [
        *served,
        Figure(what=f"memory, {every}", unit="MiB", values=memory, bound=300),
        Figure(what=f"memory, {REPLICAS} replicas", unit="MiB", values=[alone.mib]),
        Figure(what=f"health checks, {every}", unit="/s", values=[both.checks - alone.checks]),
        Figure(what=f"health checks, {REPLICAS} replicas", unit="/s", values=[alone.checks]),
        Figure(what=f"at rest, {every}, of one core", unit="%", values=[both.busy]),
        Figure(what=f"at rest, {REPLICAS} replicas, of one core", unit="%", values=[alone.busy]),
        *streams,
    ]
    return Result(
        subject="gateway-scale",
        title=f"The gateway with {setting.models} models of {REPLICAS} replicas, and with idle connections",
        label=f"gateway, {setting.models} models",
        method=f"{setting.rounds} rounds in turn of {setting.seconds:g} s, forwards and backwards, with 32 clients",
        comparisons=comparisons,
        figures=figures,
    )


def at_rest(side: Side, engine: Engine, setting: Setting) -> AtRest:
    """Look on for a while; the engine counts all connections, those of other gateways within."""
    seconds, pids = 8 * setting.seconds, side.pids()
    before, used = connections(engine), cpu_us(pids)
    time.sleep(seconds)
    checks = (connections(engine) - before - 1) / seconds  # one of them is this one
    return AtRest(checks, (cpu_us(pids) - used) / seconds / 1e4, resident_mib(pids))


def connections(engine: Engine) -> int:
    """How many the engine has had."""
    return int(httpx.get(f"http://127.0.0.1:{engine.port}/connections", trust_env=False).json()["count"])


def choices(client: Asker, few: Side, many: Side, names: Sequence[str], setting: Setting) -> list[Comparison]:
    """What a request costs where one of all models is asked, and where they are asked in turn."""
    asked = [(few, names[:1]), (many, names[:1]), (many, names)]
    taken: list[list[float]] = [[] for _ in asked]
    for number in range(setting.rounds):
        for index in range(len(asked)) if number % 2 == 0 else reversed(range(len(asked))):
            side, models = asked[index]
            work = Work(port=side.port, models=models, key=KEY, clients=32, seconds=setting.seconds)
            taken[index].append(client.ask(work, side.pids(), side.behind_s).cpu_each_us)
    rows = ((1, "CPU for a request, one is asked", 1.1), (2, "CPU for a request, all in turn", None))
    return [
        Comparison(what=what, unit="µs", ours=taken[index], theirs=taken[0], beside=FEW, how="ratio", bound=bound)
        for index, what, bound in rows
    ]


def changes(change: Change, side: Side, names: Sequence[str], rounds: int) -> tuple[list[Figure], list[float]]:
    """How soon the gateway goes by a change (each is taken back again), and its memory in MiB after each round."""
    told: dict[str, Mapping[str, Any]] = {"a replica": {"lacking": 1}, "a model": {"models": names[:-1]}}
    took: dict[str, list[float]] = {what: [] for what in told}
    memory = []
    for _ in range(rounds):
        for what, other in told.items():
            took[what] += [change(other), change({})]
        memory.append(resident_mib(side.pids()))
    figures = [Figure(what=f"{what} removed or added", unit="s", values=took[what], bound=1.0) for what in told]
    return figures, memory


def crowd(client: Asker, side: Side, model: str, setting: Setting) -> list[Figure]:
    """Streams beside connections that nobody uses: the client ends with an error if one is refused or cut."""
    told: dict[str, Any] = {"port": side.port, "models": [model], "key": KEY, "seconds": setting.seconds}
    told |= {"clients": setting.streams, "stream": True, "tokens": 32, "gap_ms": PACE_MS}
    taken: dict[int, list[float]] = {0: [], setting.idle: []}
    for _ in range(setting.rounds):
        for idle, values in taken.items():
            values.append(client.ask(Work(**told, idle=idle)).first_ms)
    who = f"first chunk, p50, {setting.streams} streams that begin at once"
    return [Figure(what=f"{who}, {idle} idle connections", unit="ms", values=values) for idle, values in taken.items()]
