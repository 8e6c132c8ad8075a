"""What a replica waits for where its node has everything: the look at an environment that was built before.

Each round asks for the engine's environment as a replica does, in a new process, and beside it lets that environment's
own Python import what the engine needs: the thorough check, which the build has made once and for all.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.results import Comparison, Figure, Result

from rayllm.engines import Device
from rayllm.plugins import Plugins
from rayllm.serving.prepare.environments import ensure_environment

WANTED_S = 0.5
ASK = """
import sys, time
from rayllm.engines import Device
from rayllm.plugins import Plugins
from rayllm.serving.prepare.environments import ensure_environment
engine = Plugins.discover().engines[sys.argv[1]]
began = time.perf_counter()
ensure_environment(engine, "auto", Device(kind="cpu"), lambda detail: sys.exit(f"it is not reused: {detail}"))
print(time.perf_counter() - began)
"""


def measure(name: str, *, rounds: int) -> Result:
    """Of one engine, on the CPU; its environment is built first where it is not there."""
    engine = Plugins.discover().engines[name]
    device = Device(kind="cpu")
    python = ensure_environment(engine, "auto", device, lambda detail: print(detail, file=sys.stderr))
    imports = f"import {', '.join(engine.environment_for(device).imports)}"
    reused: list[float] = []
    imported: list[float] = []
    for _ in range(rounds):
        reused.append(float(_said([sys.executable, "-c", ASK, name])))
        imported.append(_seconds(lambda: _said([python, "-c", imports])))
    return Result(
        subject=f"environments-{name}",
        title=f"An environment of {name} that is there already",
        label=f"environment of {name}",
        method=f"{rounds} rounds in turn, each in a new process: asked for as by a replica, and `{imports}` there",
        figures=[Figure(what="asked for, and reused", unit="s", values=reused, bound=WANTED_S, headline=True)],
        comparisons=[
            Comparison(
                what="asked for, and reused",
                unit="s",
                ours=reused,
                theirs=imported,
                beside="its imports, which would prove the same",
                how="difference",
            )
        ],
    )


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
