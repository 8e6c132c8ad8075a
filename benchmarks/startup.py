"""How quick the command line starts, and how much `pip install rayllm-core` brings.

Run by `nox -s bench`, or with any Python that has rayllm-core. A ratio is the median of interleaved pairs, so that a
machine that is busy for a while slows both sides.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

CORE = Path(__file__).parents[1] / "packages/core"
RATIO = 2.0
"""`rayllm --version` may take so many times as long as importing pydantic."""
MIB = 40.0
"""What core may bring into a bare environment."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    pairs = parser.parse_args().pairs
    ours = [str(Path(sys.executable).with_name("rayllm")), "--version"]
    theirs = [sys.executable, "-c", "import pydantic"]
    for command in (ours, theirs):
        seconds(command)
    measured = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    ratios = [our / their for our, their in measured]
    print(f"{'what':<36}{'median':>10}{'from':>10}{'to':>10}{'at most':>10}")
    row("rayllm --version, ms", [our * 1000 for our, _ in measured])
    row("python -c 'import pydantic', ms", [their * 1000 for _, their in measured])
    row(f"ratio, {pairs} pairs", ratios, RATIO)
    row("rayllm-core in a bare environment, MiB", [installed_mib()], MIB)
    if min(ratios) < RATIO < max(ratios):
        print(f"The ratio is not resolved here: its spread reaches across {RATIO}.")


def seconds(command: Sequence[str]) -> float:
    """How long a command takes to run to its end."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def row(what: str, values: Sequence[float], at_most: float | None = None) -> None:
    """Print one line of the table."""
    bound = f"{at_most:>10.2f}" if at_most is not None else ""
    print(f"{what:<40}{statistics.median(values):>8.2f}{min(values):>10.2f}{max(values):>10.2f}{bound}")


def installed_mib() -> float:
    """MiB that installing core adds to a new environment."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        before = size_of(Path(place))
        subprocess.run([f"{place}/bin/python", "-m", "pip", "install", "-q", str(CORE)], check=True)
        return (size_of(Path(place)) - before) / 2**20


def size_of(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main()
