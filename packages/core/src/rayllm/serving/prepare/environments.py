"""The Python environment of an engine on this node: taken where there is one that fits, else built with uv."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from rayllm.engines import AnyEngine, Device, Environment
from rayllm.errors import InputError
from rayllm.extras import chosen, extras_for
from rayllm.paths import home
from rayllm.serving.directory.state import LaterReport
from rayllm.serving.prepare import interpreters, marker
from rayllm.serving.prepare.build import Build, digest, python_request
from rayllm.serving.prepare.room import full_disk_told
from rayllm.serving.processes.file_lock import locked, look_anew
from rayllm.sources import FetchProgress
from rayllm.versions import is_made_for


def ensure_environment(
    engine: AnyEngine,
    choice: str,
    device: Device,
    report: FetchProgress,
    *,
    version: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Path of the interpreter that `engine` runs with on this node. Blocks, for minutes when it has to build.

    Args:
        engine: what needs the environment.
        choice: `auto` (this interpreter if it has the engine, else a built environment), `current` (this interpreter),
            or a path of an environment's folder or interpreter.
        device: what the engine computes on.
        report: told what is going on.
        version: of the engine, as in the YAML; None for the one that its plugin is made for.
        options: the model's `options:`; some need more packages than the engine. Of these a Python that is there needs
            any version, since the engine's own requirement is seldom an exact one.

    Raises:
        InputError: the engine does not run on that device, or the chosen environment lacks it or such a package.
        RayllmError: the environment can't be built; with uv's own words and what to do.
    """
    wanted = environment_of(engine, device, version, options)
    needed = wanted.needed
    extras = [Requirement(line).name for line in extras_for(engine, options or {})]
    if choice == "auto":
        if all(interpreters.satisfied_here(one) for one in (needed, *extras) if one):
            return sys.executable
        asked = None if is_made_for(engine, device, version) else version
        return build_environment(engine.name, wanted, device, report, asked)
    python = sys.executable if choice == "current" else interpreters.at(choice)
    if needed:
        interpreters.require(python, needed, engine.name)
    why = "".join(f" for {name}: {value}" for name, value in chosen(engine, options or {}).items())
    for one in extras:
        interpreters.require(python, one, engine.name, why)
    return python


def environment_of(
    engine: AnyEngine, device: Device, version: str | None, options: Mapping[str, Any] | None = None
) -> Environment:
    """What an engine needs on this device, for a model with these options.

    Raises:
        InputError: the engine does not run on it, or has no such version.
    """
    try:
        return engine.environment_for(device, version, options)
    except KeyError:
        raise InputError(f"engine {engine.name!r} does not run on {device.kind!r}") from None
    except ValueError as error:
        raise InputError(f"engine {engine.name!r}: {error}") from None


def facts_of(engine: AnyEngine, python: str, device: Device) -> LaterReport:
    """What people are told of an engine that runs with this interpreter."""
    needed = engine.environment_for(device).needed
    version = interpreters.version_of(python, Requirement(needed).name) if needed else None
    folder = Path(python).parents[1]
    environment = folder.name if folder.parent == home() / "environments" else python
    return {"version": version or "", "environment": environment, "device": device.kind}


def folder_of(engine: str, wanted: Environment, device: Device) -> Path:
    """Where the environment lies: named by its whole content, so another version never changes one that is in use."""
    content = "\n".join([python_request(wanted), platform.system(), platform.machine(), digest(wanted)])
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    return home() / "environments" / f"{engine}-{device.kind}-{key}"


def build_environment(
    name: str, wanted: Environment, device: Device, report: FetchProgress, version: str | None = None
) -> str:
    """The interpreter of the finished environment for `name`, building it first if need be.

    Args:
        name: of the engine.
        wanted: what is installed.
        device: what the engine computes on.
        report: told what is going on.
        version: of the engine, where a person asked for another than its plugin's.

    Raises:
        RayllmError: it can't be built; with uv's own words and what to do.
    """
    folder = folder_of(name, wanted, device)
    if python := finished(folder):
        return python
    lock = folder.with_name(f".{folder.name}.lock")
    with full_disk_told(home()), locked(lock, report, f"another process that builds {folder.name}") as handle:
        # Another process may have finished it while this one waited.
        look_anew(folder)
        if python := finished(folder):
            return python
        build = Build(folder=folder, wanted=wanted, device=device, report=report, lock=handle, version=version)
        return build.run()


def finished(folder: Path) -> str | None:
    """The interpreter of a finished environment that still runs; None where there is none."""
    built = marker.read(folder)
    return built.python if built and interpreters.python_version(built.python) else None
