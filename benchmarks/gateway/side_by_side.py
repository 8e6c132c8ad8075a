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
from benchmarks.gateway.asking import Asker
from benchmarks.gateway.blocks import CPU_CHUNK, CPU_PACED, CPU_REQUEST, MOCK, P50_MIB, P50_ONE, VLLM, Block
from benchmarks.gateway.client import NotWholeError, Work
from benchmarks.gateway.contenders import KEY, NO_USAGE, NONE, OTHERS, RAYLLM, REQUIREMENTS, VLLM_ROUTER, Engine, Side
from benchmarks.gateway.processes import resident_mib
from benchmarks.overhead import VLLM as REAL
from benchmarks.results import Comparison, Result, SideBySide

REPLICAS = 2
MEMORY = "memory at the end"
TOLD = 160
"""Characters of an error that stand beside the table."""
MUST = (NONE, RAYLLM, NO_USAGE, VLLM_ROUTER)
"""None of these may fail."""


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


@dataclass(slots=True)
class Rounds:
    """What was seen so far."""

    client: Asker
    model: str
    setting: Setting
    real: bool
    """The engine is."""
    rows: dict[str, SideBySide]
    trouble: dict[str, str]
    """Why a gateway has no value, or not everywhere one, by its name."""

    def run(self, sides: Sequence[Side], blocks: Sequence[Block]) -> None:
        """Ask every side, in each round, with every kind of work."""
        failed: set[tuple[str, int]] = set()
        for number in range(self.setting.rounds):
            for index, block in enumerate(blocks):
                for side in sides if number % 2 == 0 else sides[::-1]:
                    if (side.name, index) not in failed and not self._ask(side, block):
                        failed.add((side.name, index))

    def _ask(self, side: Side, block: Block) -> bool:
        """False if it fails on this work: then it has no value there, and only another's gateway may."""
        told: dict[str, Any] = {"port": side.port, "models": [self.model], "key": KEY, "real": self.real}
        try:
            taken = self.client.ask(
                Work(**told, seconds=self.setting.seconds, **block.work), side.pids(), side.behind_s
            )
        except NotWholeError as problem:
            if side.name in MUST:
                raise SystemExit(f"{side.name}: {block.work}: {problem}") from problem
            what = ", ".join(what for what, *_ in block.rows)
            self.trouble[side.name] = (
                f"{self.trouble.get(side.name, '')}; failed at {what}: {str(problem)[:TOLD]}".lstrip("; ")
            )
            for name, *_ in block.rows:
                self.rows[name].values.pop(side.name, None)
            return False
        for what, _, value in block.rows:
            if side.name in self.rows[what].values:  # no gateway takes no time
                self.rows[what].values[side.name].append(value(taken))
        return True


def _measured(
    engine: Engine, folder: Path, blocks: Sequence[Block], setting: Setting, *, real: bool
) -> tuple[list[SideBySide], dict[str, str]]:
    others = [name for name in setting.others if not (real and name == contenders.SERVE)]
    with closing(Asker()) as client, contenders.side_by_side(engine, folder, others) as (sides, missing):
        names = [side.name for side in sides]
        rows = {
            what: SideBySide(what=what, unit=unit, values={name: [] for name in names if name != NONE or unit != "µs"})
            for block in blocks
            for what, unit, _ in block.rows
        }
        Rounds(client, engine.model, setting, real, rows, missing).run(sides, blocks)
        memory = {side.name: [resident_mib(side.pids())] for side in sides if side.name != NONE}
    return [*rows.values(), SideBySide(what=MEMORY, unit="MiB", values=memory)], missing


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
    absent = "".join(f"; {name}: {why}" for name, why in missing.items())
    return (
        f"{setting.rounds} rounds, in each of them every gateway in turn for {setting.seconds:g} s with each kind of "
        f"work, forwards and backwards; {versions}{absent}"
    )
