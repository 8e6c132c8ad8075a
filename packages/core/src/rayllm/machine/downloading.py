"""Filling a wheelhouse: every wheel of an engine's environment in a folder, for machines without an index."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path

from packaging.requirements import Requirement

from rayllm.errors import InputError, RayllmError
from rayllm.machine.building import engine_of, options_of
from rayllm.plugins import Plugins
from rayllm.serving.prepare.clean_environ import clean_environ
from rayllm.serving.prepare.environments import environment_of
from rayllm.serving.prepare.resolving import leaving_out, resolved
from rayllm.serving.prepare.torch_builds import cpu_torch_flags
from rayllm.serving.prepare.uv import Uv, with_pip
from rayllm.sources import FetchProgress

CPU_TORCH = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds."""
_KEPT_LINES = 15


def download(
    plugins: Plugins,
    name: str,
    kind: str,
    into: Path,
    report: FetchProgress,
    *,
    version: str | None = None,
    options: Collection[str] = (),
) -> list[Path]:
    """Put every package of an engine's environment into a folder, as wheels for this kind of machine and this Python.

    Args:
        plugins: what is installed.
        name: the engine's name.
        kind: `cpu` or `cuda`; empty for what is on this machine.
        into: the folder; made when missing.
        report: told what is going on.
        version: of the engine; None for its plugin's.
        options: of a model, as `NAME=VALUE`, that need packages of their own.

    Returns:
        All wheels in the folder.

    Raises:
        InputError: there is no such engine, version or option, or it does not run on that device.
        RayllmError: a package can't be fetched; with pip's or uv's own words.
    """
    engine, device = engine_of(plugins, name, kind)
    wanted = environment_of(engine, device, version, options_of(engine, options))
    if not wanted.requires:
        raise InputError(f"engine {name!r} needs no environment of its own: there is nothing to download")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rayllm-wheels-") as place:
        folder, tool = Path(place), Uv.find(report)
        requirements = folder / "requirements.txt"
        requirements.write_text("\n".join(wanted.requires) + "\n")
        lines: Sequence[str] = wanted.requires
        if not wanted.locked:
            flags = leaving_out(folder, wanted.without)
            lines = resolved(tool, sys.executable, requirements, flags, report)
        elsewhere = device.kind == "cpu" and bool(cpu_torch_flags(tool, sys.executable, lines, report))
        requirements.write_text("\n".join(_of_cpu(lines) if elsewhere else lines) + "\n")
        report("making an environment with pip")
        _run(pip_command(with_pip(folder / "pip"), requirements, into, cpu_torch=elsewhere), report)
    return sorted(into.glob("*.whl"))


def pip_command(python: str, requirements: Path, into: Path, *, cpu_torch: bool) -> list[str]:
    """What fetches the wheels, and builds those that an index has as source alone. Pure."""
    index = ["--extra-index-url", CPU_TORCH] if cpu_torch else []
    return [python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(into), *index, "-r", str(requirements)]


def _of_cpu(lines: Sequence[str]) -> list[str]:
    return [f"{line}+cpu" if Requirement(line).name == "torch" else line for line in lines]


def _run(argv: Sequence[str], report: FetchProgress) -> None:
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        argv, env=clean_environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            report(line.strip())
    if process.returncode:
        raise RayllmError(
            "a package of the environment can't be fetched",
            cause="\n".join(last),
            cure="the cause above is pip's own; what was fetched is in the folder: once it is gone, run it again",
            topic="environment-build",
        )
