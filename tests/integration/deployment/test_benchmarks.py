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


def test_the_gateway_with_many_models(tmp_path: Path) -> None:
    """Requests, changes and idle connections: no answer lacks anything."""
    lines = quick(tmp_path, "gateway-scale")
    for what in ("CPU for a request, all in turn", "a model removed or added", "a replica removed or added", "memory"):
        assert any(line.startswith(f"| {what}") for line in lines), what
    assert sum("idle connections" in line and line.startswith("| first chunk") for line in lines) == 2


def test_the_gateway_on_a_platform(tmp_path: Path) -> None:
    """Beside the same one elsewhere: each kind of work has both values."""
    lines = quick(tmp_path, "gateway-ingress")
    assert sum(line.startswith("| CPU for a ") and "elsewhere:" in line for line in lines) == 3


def test_a_short_soak(tmp_path: Path) -> None:
    """Every kind of work once, and a replica that goes and comes; a run as short as this writes no report."""
    report = ROOT / "docs/reports/gateway-soak.md"
    before = report.exists() and report.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gateway.soak", "3"],
        cwd=ROOT,
        env={**os.environ, "RAYLLM_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| errors | 0 |" in done.stdout
    assert (report.exists() and report.read_bytes()) == before
