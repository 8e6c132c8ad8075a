"""Running the kit on plugins made up for it, in a pytest of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

Outcome = dict[str, tuple[str, str]]
"""By rule: `passed`, `skipped`, `failed` or `xfailed`, and what was said."""
NEEDS = "rayllm-core>=0.1,<0.2"
"""What a plugin's distribution requires."""
_REPORT = """
import json
from pathlib import Path

_FOUND = []

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        _FOUND.append([report.nodeid, report.outcome, str(report.longrepr or "")])

def pytest_sessionfinish():
    Path(__file__).with_name("report.json").write_text(json.dumps(_FOUND))
"""


def install(site: Path, kind: str, name: str, code: str, needs: str = NEEDS) -> None:
    """A distribution `rayllm-KIND-NAME` 0.3.1, with its entry point and one module."""
    site.mkdir(exist_ok=True)
    module = f"made_up_{name.replace('-', '_')}"
    (site / f"{module}.py").write_text(code)
    info = site / f"rayllm_{kind}_{name.replace('-', '_')}-0.3.1.dist-info"
    info.mkdir()
    told = f"Metadata-Version: 2.1\nName: rayllm-{kind}-{name}\nVersion: 0.3.1\nRequires-Dist: {needs}\n"
    (info / "METADATA").write_text(told)
    (info / "entry_points.txt").write_text(f"[rayllm]\n{kind}-{name} = {module}\n")


def run(folder: Path, site: Path, conftest: str, tests: str) -> dict[str, Outcome]:
    """What became of the rules, by the name of the test class; plugins are those in `site`."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(_REPORT + conftest)
    (folder / "test_it.py").write_text(tests)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=folder,
        env={**env, "RAYLLM_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    report = folder / "report.json"
    assert report.exists(), ended.stdout + ended.stderr
    found: dict[str, Outcome] = defaultdict(dict)
    for node, outcome, said in json.loads(report.read_text()):
        _, kit, rule = node.split("::")
        found[kit][rule] = (outcome, said)
    return found


def failures(outcome: Outcome) -> dict[str, str]:
    """What the rules that failed said."""
    return {rule: said for rule, (state, said) in outcome.items() if state == "failed"}
