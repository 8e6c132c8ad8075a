"""A thousand models with four replicas each beside one model, and thousands of connections that nobody uses."""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway import contenders
from benchmarks.gateway.asking import Asker
from benchmarks.gateway.blocks import PACE_MS
from benchmarks.gateway.client import Work
from benchmarks.gateway.contenders import KEY, Change, Side
from benchmarks.gateway.processes import cpu_us, resident_mib
from benchmarks.results import Comparison, Figure, Result

from rayllm.serving.haproxy import sockets
from rayllm.serving.haproxy.places import CONFIG_FILE, RUNTIME_SOCKET

REPLICAS = 4
FEW, MANY = "1 model", "many models"
_CHECKED = re.compile(r"^ *process_chk(?:\+\d+)? +(\d+) .*<- wake_srv_chk@", re.MULTILINE)
"""In HAProxy's profile: how often the connection of a check was made, or refused."""
_PAUSE = re.compile(r" inter (\d+)s ")
"""In its configuration: seconds between two checks of a replica."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How much of it."""

    rounds: int
    seconds: float
    """Of each block."""
    models: int
    idle: int
    """Connections."""
    streams: int


FULL, QUICK = Setting(10, 1.2, 1000, 5000, 200), Setting(1, 0.1, 20, 50, 10)


@dataclass(frozen=True, slots=True)
class AtRest:
    """What a gateway does while nobody asks."""

    checks: float
    """Of its engines, each second, in the mean of whole rounds of them."""
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
        alone = at_rest(few, contenders.folder_of(Path(place), few.port), setting)
        many, change = stack.enter_context(contenders.rayllm(MANY, Path(place), {**told, "models": names}))
        all_of_them = at_rest(many, contenders.folder_of(Path(place), many.port), setting)
        comparisons = choices(client, few, many, names, setting)
        served, memory = changes(change, many, names, setting.rounds)
        streams = crowd(client, few, names[0], setting)
    every = f"{setting.models * REPLICAS} replicas"
    figures = [
        *served,
        Figure(what=f"memory, {every}", unit="MiB", values=memory, bound=300),
        Figure(what=f"memory, {REPLICAS} replicas", unit="MiB", values=[alone.mib]),
        Figure(what=f"health checks, {every}", unit="/s", values=[all_of_them.checks]),
        Figure(what=f"health checks, {REPLICAS} replicas", unit="/s", values=[alone.checks]),
        Figure(what=f"at rest, {every}, of one core", unit="%", values=[all_of_them.busy]),
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


def at_rest(side: Side, run_dir: Path, setting: Setting) -> AtRest:
    """Look on for a while, until every replica has been checked as often as any other.

    HAProxy counts its checks itself: no engine can, since a check that only connects ends before it is accepted.

    Raises:
        SystemExit: it counted none, which can't be.
    """
    pause = int(_PAUSE.findall((run_dir / CONFIG_FILE).read_text())[0])
    seconds, pids = pause * math.ceil(8 * setting.seconds / pause), side.pids()
    sockets.ask(run_dir, RUNTIME_SOCKET, "set profiling tasks on")
    before, used = checks(run_dir), cpu_us(pids)
    time.sleep(seconds)
    done, busy = checks(run_dir) - before, (cpu_us(pids) - used) / seconds / 1e4
    sockets.ask(run_dir, RUNTIME_SOCKET, "set profiling tasks auto")
    if not done:
        raise SystemExit(f"{side.name}: no health check within {seconds} s: nothing was counted")
    return AtRest(done / seconds, busy, resident_mib(pids))


def checks(run_dir: Path) -> int:
    """How many checks this HAProxy has ended since it profiles."""
    return sum(map(int, _CHECKED.findall(sockets.ask(run_dir, RUNTIME_SOCKET, "show profiling tasks"))))


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
