"""All gateways and none, asked in turn, forwards and backwards, round by round."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.deployment import MODEL, Process, served
from benchmarks.gateway import contenders
from benchmarks.gateway.asking import Asker, Taken
from benchmarks.gateway.blocks import CPU_CHUNK, CPU_PACED, CPU_REQUEST, MOCK, P50_MIB, P50_ONE, VLLM, Block
from benchmarks.gateway.client import Work
from benchmarks.gateway.contenders import KEY, NO_USAGE, NONE, OTHERS, RAYLLM, REQUIREMENTS, VLLM_ROUTER, Engine, Side
from benchmarks.gateway.processes import resident_mib
from benchmarks.overhead import VLLM as REAL
from benchmarks.results import Comparison, Result, SideBySide

REPLICAS = 2
MEMORY = "memory at the end"


@dataclass(frozen=True, slots=True)
class Setting:
    """How long it takes, and who takes part."""

    rounds: int
    seconds: float
    """Of each block."""
    others: tuple[str, ...] = tuple(OTHERS)


FULL, QUICK = Setting(10, 1.2), Setting(1, 0.1, (VLLM_ROUTER,))


def on_mock(setting: Setting) -> Result:
    """In front of the mock engine."""
    with tempfile.TemporaryDirectory() as place, contenders.engine(Path(place), REPLICAS) as engine:
        rows, missing = _measured(engine, Path(place), MOCK, setting, real=False)
    return Result(
        subject="gateway",
        title="The gateway beside others, in front of an engine without a model",
        label="gateway",
        method=_method(setting, missing),
        comparisons=[*_costs(rows), *_waits(rows, {P50_ONE: 0.5, P50_MIB: 15.0})],
        side_by_side=rows,
    )


def on_vllm(setting: Setting) -> Result:
    """In front of a real engine: the one that RayLLM has started."""
    with tempfile.TemporaryDirectory() as place, served(**{MODEL: dict(REAL.model)}):
        replica = Process.of_replica()
        engine = Engine(MODEL, int(replica.port), ["127.0.0.1"], 0)
        rows, missing = _measured(engine, Path(place), VLLM, setting, real=True)
    [mib] = [row for row in rows if row.what == P50_MIB]
    return Result(
        subject="gateway-vllm",
        title="The gateway beside others, in front of vLLM with SmolLM2-135M",
        label="gateway, vLLM",
        method=_method(setting, missing),
        comparisons=[
            Comparison(
                what=P50_MIB,
                unit="ms",
                ours=mib.values[RAYLLM],
                theirs=mib.values[NONE],
                beside=NONE,
                how="ratio",
                bound=1.15,
            )
        ],
        side_by_side=rows,
    )


def _measured(
    engine: Engine, folder: Path, blocks: Sequence[Block], setting: Setting, *, real: bool
) -> tuple[list[SideBySide], dict[str, str]]:
    others = [name for name in setting.others if not (real and name == contenders.SERVE)]
    with closing(Asker()) as client, contenders.side_by_side(engine, folder, others) as (sides, missing):
        rows = {
            what: SideBySide(what=what, unit=unit, values={side.name: [] for side in sides})
            for block in blocks
            for what, unit, _ in block.rows
        }
        for side in sides:
            _ask(client, blocks[0], side, engine, 0.2, real=real)
        for number in range(setting.rounds):
            for block in blocks:
                for side in sides if number % 2 == 0 else sides[::-1]:
                    taken = _ask(client, block, side, engine, setting.seconds, real=real)
                    for what, _, value in block.rows:
                        rows[what].values[side.name].append(value(taken))
        memory = {side.name: [resident_mib(side.pids())] for side in sides if side.name != NONE}
    for row in rows.values():
        if row.what.startswith("CPU"):
            del row.values[NONE]
    return [*rows.values(), SideBySide(what=MEMORY, unit="MiB", values=memory)], missing


def _ask(client: Asker, block: Block, side: Side, engine: Engine, seconds: float, *, real: bool) -> Taken:
    told: dict[str, Any] = {"port": side.port, "models": [engine.model], "key": KEY, "seconds": seconds, "real": real}
    return client.ask(Work(**told, **block.work), side.pids())


def _costs(rows: Sequence[SideBySide]) -> list[Comparison]:
    """Processor time beside vllm-router's."""
    wanted = {
        RAYLLM: {CPU_REQUEST: 1.0, CPU_CHUNK: 0.85, CPU_PACED: 0.85},
        NO_USAGE: {CPU_REQUEST: 0.9, CPU_CHUNK: 0.65, CPU_PACED: 0.65},
    }
    return [
        Comparison(
            what=row.what if side == RAYLLM else f"{row.what}, without usage",
            unit=row.unit,
            ours=row.values[side],
            theirs=row.values[VLLM_ROUTER],
            beside=VLLM_ROUTER,
            how="ratio",
            bound=bounds[row.what],
            headline=side == RAYLLM,
        )
        for side, bounds in wanted.items()
        for row in rows
        if row.what in bounds and VLLM_ROUTER in row.values
    ]


def _waits(rows: Sequence[SideBySide], wanted: Mapping[str, float]) -> list[Comparison]:
    """What an answer waits longer than without a gateway."""
    return [
        Comparison(
            what=row.what,
            unit=row.unit,
            ours=row.values[RAYLLM],
            theirs=row.values[NONE],
            beside=NONE,
            how="difference",
            bound=wanted.get(row.what),
            headline=row.what == P50_ONE,
        )
        for row in rows
        if row.unit == "ms"
    ]


def _method(setting: Setting, missing: Mapping[str, str]) -> str:
    versions = ", ".join(
        requirement.replace("==", " ") for name, requirement in REQUIREMENTS.items() if name in setting.others
    )
    absent = "".join(f"; missing: {name}, since {why}" for name, why in missing.items())
    return (
        f"{setting.rounds} rounds, in each of them every gateway in turn for {setting.seconds:g} s with each kind of "
        f"work, forwards and backwards; {versions}{absent}"
    )
