"""The benchmark of a cluster on Cloudera AI still runs: one round with a worker, and without a word on speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_quick_run() -> None:
    """Both sides have a time, and a second `up` changes nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "cai"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("| from the key to 2 nodes") and "by hand:" in line for line in lines) == 2
    assert any(line.startswith("| API calls of a second up that change something | 0 calls") for line in lines)
