"""Measure, and write the pages: `python -m benchmarks [SUBJECT…]`, in the root of the repository.

A subject's values go to `docs/benchmarks/SUBJECT.json`; the pages and the picture are made of all of these files.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks import cli, environments, overhead, up
from benchmarks.gateway import ingress, scale, side_by_side
from benchmarks.picture import draw, draw_programs
from benchmarks.report import between_marks, drawn, page, read_all, short
from benchmarks.results import Result


def _cai(**told: int) -> Result:
    from benchmarks import cai  # needs the backend, which is not everywhere

    return cai.measure(**told)


ROOT = Path(__file__).parents[1]
PICTURE = "overhead.svg"
SUBJECTS: dict[str, Callable[[], Result]] = {
    "overhead-vllm": lambda: overhead.measure("overhead-vllm", overhead.VLLM),
    "overhead-sglang": lambda: overhead.measure("overhead-sglang", overhead.SGLANG),
    "overhead-fake": lambda: overhead.measure("overhead-fake", overhead.FAKE),
    "cli": lambda: cli.measure(pairs=12, installed=True),
    "up": lambda: up.measure(rounds=6),
    "cai": lambda: _cai(rounds=6, workers=3),
    "environments-vllm": lambda: environments.measure("vllm", rounds=6),
    "environments-sglang": lambda: environments.measure("sglang", rounds=6),
    "gateway": lambda: side_by_side.on_mock(side_by_side.FULL),
    "gateway-scale": lambda: scale.measure(scale.FULL),
    "gateway-ingress": lambda: ingress.measure(ingress.FULL),
    "gateway-vllm": lambda: side_by_side.on_vllm(side_by_side.FULL),
}
QUICK: dict[str, Callable[[], Result]] = {
    "overhead-fake": lambda: overhead.measure("overhead-fake", replace(overhead.FAKE, rounds=1, requests={1: 4, 8: 2})),
    "cli": lambda: cli.measure(pairs=1, installed=False),
    "cai": lambda: _cai(rounds=1, workers=1),
    "gateway": lambda: side_by_side.on_mock(side_by_side.QUICK),
    "gateway-ingress": lambda: ingress.measure(ingress.QUICK),
    "gateway-scale": lambda: scale.measure(scale.QUICK),
}
"""What shows in two minutes that all of it works; too little to tell anything."""


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}; by default all of them")
    parser.add_argument(
        "--quick", action="store_true", help="try all but vLLM and SGLang for two minutes; writes nothing to docs/"
    )
    parser.add_argument("--pages", action="store_true", help="measure nothing, make the pages of the last results")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    known = QUICK if told.quick else SUBJECTS
    if unknown := set(told.subjects) - set(known):
        parser.error(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) if told.quick else ROOT / "docs/benchmarks"
        for subject in [] if told.pages else told.subjects or known:
            began = time.monotonic()
            known[subject]().write(results)
            print(f"{subject}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        found = read_all(results)
        draw(found, results / PICTURE)
        for result in found:
            if rows := drawn(result):
                draw_programs(rows, results / f"{result.subject}.svg")
        print(page(found))
        if not told.quick:
            write_pages(ROOT, found)


def write_pages(root: Path, results: list[Result]) -> None:
    """Put the tables between the marks of the README and of `docs/benchmarks.md`."""
    for file, content in ((root / "README.md", short(results)), (root / "docs/benchmarks.md", page(results))):
        file.write_text(between_marks(file.read_text(), content))


if __name__ == "__main__":
    main()
