"""The benchmarks still run: a minute's try of them, without vLLM and without a word on speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_quick_run(tmp_path: Path) -> None:
    """Every answer is whole, every side is in the table, and what is committed stays as it is."""
    before = (ROOT / "docs/benchmarks.md").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "overhead-fake"],
        cwd=ROOT,
        env={**os.environ, "RAYLLM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("| output tokens", "| first token"))]
    assert sum("by hand:" in row for row in rows) == 4
    assert sum("the replica's engine, directly:" in row for row in rows) == 4
    assert (ROOT / "docs/benchmarks.md").read_bytes() == before
