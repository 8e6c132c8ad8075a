"""The benchmarks still run: a minute's try of them, without vLLM and without a word on speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def quick(home: Path, subject: str) -> list[str]:
    """The lines that a quick run prints; what is committed stays as it is."""
    before = (ROOT / "docs/benchmarks.md").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", subject],
        cwd=ROOT,
        env={**os.environ, "RAYLLM_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs/benchmarks.md").read_bytes() == before
    return done.stdout.splitlines()


def test_a_quick_run(tmp_path: Path) -> None:
    """Every answer is whole, and every side is in the table."""
    lines = quick(tmp_path, "overhead-fake")
    rows = [line for line in lines if line.startswith(("| output tokens", "| first token"))]
    assert sum("by hand:" in row for row in rows) == 4
    assert sum("the replica's engine, directly:" in row for row in rows) == 4


def test_the_gateway_beside_another(tmp_path: Path) -> None:
    """RayLLM's, vllm-router and none: each has a value in every row of the table, but for the time it does not take."""
    lines = quick(tmp_path, "gateway")
    assert "| what | no gateway | RayLLM | RayLLM, no usage | vllm-router |" in lines
    table = [line.split("|")[2:-1] for line in lines if line.count("|") == 6]
    assert len(table) > 15
    assert all(cell.strip() for row in table for cell in row[1:])
    assert sum("vllm-router:" in line for line in lines) == 6
