"""The gateway at saturation for half an hour: no error, no growth. `python -m benchmarks.gateway.soak [SECONDS]`.

JSON requests, streams and large bodies in turn, as fast as the gateway takes them, while replicas come and go. With
the full half hour it writes `docs/reports/gateway-soak.md`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gateway import contenders
from benchmarks.gateway.asking import Asker
from benchmarks.gateway.client import NotWholeError, Work
from benchmarks.gateway.contenders import KEY, RAYLLM, Change, Side
from benchmarks.gateway.processes import resident_mib
from benchmarks.results import machine, versions

FULL_S = 1800.0
REPORT = Path(__file__).parents[2] / "docs/reports/gateway-soak.md"
REPLICAS = 4
_QUARTERS = 4
GROWTH = 1.1
"""Memory of the last quarter may be this many times that of the second; in the first, pools are filled."""
_PARTS: tuple[dict[str, Any], ...] = (
    {"clients": 256},
    {"clients": 64, "stream": True, "tokens": 64},
    {"clients": 256, "stream": True, "tokens": 16, "gap_ms": 5},
    {"clients": 4, "prompt_bytes": 1_000_000},
)


@dataclass(slots=True)
class Soaked:
    """What was seen."""

    seconds: float = 0.0
    requests: int = 0
    changes: int = 0
    memory_mib: list[float] = field(default_factory=list)
    """After each round of work."""
    descriptors: list[int] = field(default_factory=list)
    """Open files of all its processes, as often."""

    def quarter(self, number: int, values: Sequence[float]) -> float:
        """Median of the first (0) to the last (3) quarter."""
        return median(values[len(values) * number // _QUARTERS : len(values) * (number + 1) // _QUARTERS])

    @property
    def growth(self) -> float:
        """Memory of the last quarter in units of the second."""
        return self.quarter(3, self.memory_mib) / self.quarter(1, self.memory_mib)


def soak(seconds: float) -> Soaked:
    """Ask for so long.

    Raises:
        SystemExit: an answer was not whole.
    """
    with tempfile.TemporaryDirectory() as place, closing(Asker()) as client, ExitStack() as stack:
        engine = stack.enter_context(contenders.engine(Path(place), REPLICAS))
        told = {"models": [engine.model], "engine_port": engine.port, "replicas": REPLICAS}
        side, change = stack.enter_context(contenders.rayllm(RAYLLM, Path(place), told))
        try:
            return _asked(client, side, change, seconds)
        except NotWholeError as problem:
            raise SystemExit(f"an answer was not whole: {problem}") from problem


def _asked(client: Asker, side: Side, change: Change, seconds: float) -> Soaked:
    seen, began = Soaked(), time.monotonic()
    each = min(5.0, seconds / 40)
    while seen.seconds < seconds or len(seen.memory_mib) < _QUARTERS:
        for part in _PARTS:
            work = Work(port=side.port, key=KEY, seconds=each, **part)
            seen.requests += client.ask(work).done.requests
        change({"lacking": 1})
        change({})
        seen.changes += 2
        seen.memory_mib.append(resident_mib(side.pids()))
        seen.descriptors.append(sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in side.pids()))
        seen.seconds = time.monotonic() - began
    return seen


def told(seen: Soaked) -> str:
    """The report."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True, cwd=REPORT.parents[2]
    )
    memory = " ".join(f"{seen.quarter(number, seen.memory_mib):.1f}" for number in range(_QUARTERS))
    files = " ".join(f"{seen.quarter(number, seen.descriptors):.0f}" for number in range(_QUARTERS))
    version = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"""# The gateway at saturation

`nox -s soak`, {dt.datetime.now(dt.timezone.utc).date()}, commit {commit.stdout.strip()}; {machine()}; {version}.

{seen.seconds / 60:.0f} minutes: JSON requests (256 clients), streams (64 and 256) and prompts of 1 MB (4) in turn, as
fast as the gateway took them, with keys, limits, usage and metrics on, while a replica went and came
{seen.changes // 2} times.

| what | seen |
|---|---|
| requests, each answer checked to be whole | {seen.requests} |
| errors | 0 |
| memory of all its processes, medians of the quarters, MiB | {memory} |
| open files of all its processes, medians of the quarters | {files} |
| memory of the last quarter, in units of the second | {seen.growth:.3f} |
"""


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=FULL_S)
    seconds = parser.parse_args().seconds
    seen = soak(seconds)
    report = told(seen)
    print(report)
    if seconds >= FULL_S:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(report)
        if seen.growth > GROWTH:
            raise SystemExit(f"its memory grew {seen.growth:.2f} times")


if __name__ == "__main__":
    main()
