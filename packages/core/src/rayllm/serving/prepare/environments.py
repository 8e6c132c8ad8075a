"""The Python environment of an engine on this node: taken where there is one that fits, else built with uv."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rayllm.engines import AnyEngine, Device, Environment
from rayllm.errors import InputError, RayllmError
from rayllm.paths import home
from rayllm.serving.directory.state import LaterReport
from rayllm.serving.prepare import interpreters, uv
from rayllm.serving.prepare.room import full_disk_told, require_room
from rayllm.serving.prepare.torch_builds import cpu_torch_flags
from rayllm.serving.processes.file_lock import locked
from rayllm.sources import FetchProgress

MARKER = "rayllm-environment.json"
"""Written last into a built environment: without it the build is not finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What the marker of a finished environment says."""

    python: str
    """Path of its interpreter."""
    requirements: str
    """SHA-256 of what was installed."""
    uv: str
    """Version of the uv that built it."""
    date: str
    """When it was finished, UTC, ISO 8601."""


def ensure_environment(engine: AnyEngine, choice: str, device: Device, report: FetchProgress) -> str:
    """Path of the interpreter that `engine` runs with on this node. Blocks, for minutes when it has to build.

    Args:
        engine: what needs the environment.
        choice: `auto` (this interpreter if it has the engine, else a built environment), `current` (this interpreter),
            or a path of an environment's folder or interpreter.
        device: what the engine computes on.
        report: told what is going on.

    Raises:
        InputError: the engine does not run on that device, or the chosen environment lacks the engine.
        RayllmError: the environment can't be built; with uv's own words and what to do.
    """
    try:
        wanted = engine.environment_for(device)
    except KeyError:
        raise InputError(f"engine {engine.name!r} does not run on {device.kind!r}") from None
    needed = wanted.needed
    if choice == "auto":
        if not needed or interpreters.satisfied_here(needed):
            return sys.executable
        return build_environment(engine.name, wanted, device, report)
    python = sys.executable if choice == "current" else interpreters.at(choice)
    if needed:
        interpreters.require(python, needed, engine.name)
    return python


def facts_of(engine: AnyEngine, python: str, device: Device) -> LaterReport:
    """What people are told of an engine that runs with this interpreter."""
    needed = engine.environment_for(device).needed
    version = interpreters.version_of(python, Requirement(needed).name) if needed else None
    folder = Path(python).parents[1]
    environment = folder.name if folder.parent == home() / "environments" else python
    return {"version": version or "", "environment": environment, "device": device.kind}


def folder_of(engine: str, wanted: Environment, device: Device) -> Path:
    """Where the environment lies: named by its whole content, so another version never changes one that is in use."""
    content = "\n".join([_python_request(wanted), platform.system(), platform.machine(), _digest(wanted)])
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    return home() / "environments" / f"{engine}-{device.kind}-{key}"


def _digest(wanted: Environment) -> str:
    """SHA-256 of what is installed."""
    files = [part for path in sorted(wanted.files) for part in (path, wanted.files[path])]
    return hashlib.sha256("\n".join([*wanted.requires, *files]).encode()).hexdigest()


def _python_request(wanted: Environment) -> str:
    """The Python that uv is asked for: this one's version if the engine runs on it, else whatever uv finds in range."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    fits = SpecifierSet(wanted.python).contains(platform.python_version(), prereleases=True)
    return here if fits else wanted.python


def build_environment(name: str, wanted: Environment, device: Device, report: FetchProgress) -> str:
    """The interpreter of the finished environment for `name`, building it first if need be.

    Raises:
        RayllmError: it can't be built; with uv's own words and what to do.
    """
    folder = folder_of(name, wanted, device)
    if python := _finished(folder):
        return python
    lock = folder.with_name(f".{folder.name}.lock")
    with full_disk_told(home()), locked(lock, report, f"another process that builds {folder.name}") as handle:
        # Another process may have finished it while this one waited.
        if python := _finished(folder):
            return python
        return _build(folder, wanted, device, report, handle)


def _finished(folder: Path) -> str | None:
    """The interpreter of a finished environment that still runs."""
    try:
        python = Built(**json.loads((folder / MARKER).read_text())).python
    except (OSError, ValueError, TypeError):
        return None
    return python if interpreters.python_version(python) else None


def _build(folder: Path, wanted: Environment, device: Device, report: FetchProgress, lock: int) -> str:
    """Build in place (an environment can't be moved); the marker comes last.

    What a killed build left is thrown away, since a package may be half there while its metadata is whole; what it
    downloaded is in uv's cache, so the second run costs seconds.
    """
    tool = uv.Uv.find(report)
    if folder.exists():
        report("clearing an unfinished build")
        shutil.rmtree(folder)
    else:
        # What an unfinished build has downloaded takes its room already, in uv's cache.
        require_room(folder, wanted.disk, f"the environment {folder.name}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    request = _python_request(wanted)
    here = request != wanted.python
    report(f"building {folder.name}")
    tool.run(["venv", "--no-project", "--python", sys.executable if here else request, str(folder)], report, lock)
    python = str(folder / "bin" / "python")
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join(wanted.requires) + "\n")
    flags = ["--no-deps"] if wanted.locked else []
    if device.kind == "cpu":
        flags += cpu_torch_flags(tool, python, wanted.requires, report)
    tool.run(["pip", "install", "--python", python, *flags, "-r", str(requirements)], report, lock)
    for path, text in wanted.files.items():
        file = interpreters.site_packages(python) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if wanted.imports:
        report(f"checking that {', '.join(wanted.imports)} can be imported")
        interpreters.check_imports(python, wanted.imports, folder.name)
    _mark(folder, Built(python=python, requirements=_digest(wanted), uv=tool.version(), date=_now()))
    return python


def _mark(folder: Path, built: Built) -> None:
    """Write the marker in one step."""
    draft = folder / f"{MARKER}.new"
    try:
        draft.write_text(json.dumps(asdict(built), indent=2) + "\n")
        draft.replace(folder / MARKER)
    except OSError as error:
        raise RayllmError(f"can't finish the environment {folder}", cause=str(error)) from error


def _now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
