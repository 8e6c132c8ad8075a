"""How much `rayllm up` adds to an engine's own start: a cold cluster, and one more model on a running one.

The engine is the fake one, which starts at once, so that what is left is RayLLM and Ray. Each round starts it by hand
and through `up`, in turn.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from benchmarks.deployment import GATEWAY_PORT, MODEL, NAME, Process, rayllm
from benchmarks.results import Comparison, Result

from rayllm.testing.fake_engine import SERVER

BLOCK: dict[str, Any] = {"engine": "fake", "source": "/", "resources": {"cpus": 0.25}}


def measure(*, rounds: int) -> Result:
    """Run it all."""
    own: list[float] = []
    cold: list[float] = []
    more: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            for _ in range(rounds):
                own.append(by_hand())
                cold.append(through(folder, MODEL))
                through(folder, "idle")
                more.append(through(folder, "idle", MODEL))
                rayllm(folder, "down", "--yes")
        finally:
            rayllm(folder, "down", "--yes")
    return Result(
        subject="up",
        title="`rayllm up`, with an engine that starts at once",
        label="rayllm",
        method=f"{rounds} rounds in turn, to the end of `up` and to the engine's first token",
        comparisons=[
            Comparison(what=what, unit="s", ours=ours, theirs=own, beside="by hand", how="difference")
            for what, ours in (("up, nothing runs yet", cold), ("up, one model more on a running cluster", more))
        ],
    )


def by_hand() -> float:
    """Seconds from the start of the engine's process to its first token."""
    command = (sys.executable, "-I", str(SERVER), "--model", MODEL, "--port", "0")
    began = time.perf_counter()
    with Process(command, os.environ).again():
        return time.perf_counter() - began


def through(folder: Path, *models: str) -> float:
    """Seconds of `up` with these models."""
    content = {"name": NAME, "models": dict.fromkeys(models, BLOCK), "gateway": {"port": GATEWAY_PORT}}
    (folder / "rayllm.yaml").write_text(yaml.safe_dump(content))
    began = time.perf_counter()
    rayllm(folder, "up", "--yes")
    return time.perf_counter() - began
