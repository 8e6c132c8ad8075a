"""The gateway on a platform, with an ingress before it and a way to Ray's dashboard, beside the same one elsewhere."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.gateway import contenders
from benchmarks.gateway.asking import Asker
from benchmarks.gateway.blocks import CPU_CHUNK, CPU_PACED, CPU_REQUEST, MOCK
from benchmarks.gateway.contenders import RAYLLM
from benchmarks.gateway.side_by_side import REPLICAS, Rounds, Setting
from benchmarks.results import Comparison, Result, SideBySide

FULL, QUICK = Setting(12, 1.2), Setting(1, 0.1)
PLATFORM = "RayLLM on a platform"
WANTED = (CPU_REQUEST, CPU_CHUNK, CPU_PACED)
BOUND = 1.03
"""What one run and the next differ by."""


def measure(setting: Setting) -> Result:
    """Run it all."""
    blocks = [block for block in MOCK if any(what in WANTED for what, *_ in block.rows)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(contenders.engine(folder, REPLICAS))
        told = {"models": [engine.model], "engine_port": engine.port, "replicas": REPLICAS}
        sides = [
            stack.enter_context(contenders.rayllm(name, folder, {**told, "ingress": name == PLATFORM}))[0]
            for name in (RAYLLM, PLATFORM)
        ]
        client = stack.enter_context(closing(Asker()))
        rows = {
            what: SideBySide(what=what, unit=unit, values={side.name: [] for side in sides})
            for block in blocks
            for what, unit, _ in block.rows
        }
        Rounds(client, engine.model, setting, real=False, rows=rows, trouble={}).run(sides, blocks)
    return Result(
        subject="gateway-ingress",
        title="The gateway where it has a way to Ray's dashboard",
        label="gateway on a platform",
        method=f"{setting.rounds} rounds, in each of them both in turn for {setting.seconds:g} s with each kind of "
        "work, forwards and backwards, in front of the mock engine",
        comparisons=[
            Comparison(
                what=what,
                unit=rows[what].unit,
                ours=rows[what].values[PLATFORM],
                theirs=rows[what].values[RAYLLM],
                beside="elsewhere",
                how="ratio",
                bound=BOUND,
            )
            for what in WANTED
        ],
    )
