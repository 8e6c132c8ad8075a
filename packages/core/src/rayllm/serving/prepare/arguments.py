"""Which flags the engine in an environment takes: asked once for each set of installed packages, and kept."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from rayllm.arguments import dump
from rayllm.arguments.check import complaints
from rayllm.arguments.listing import ArgumentList, flag_of, read_list
from rayllm.engines import AnyEngine, Device
from rayllm.errors import InputError, RayllmError
from rayllm.paths import home
from rayllm.serving.prepare import interpreters
from rayllm.serving.processes.file_lock import locked
from rayllm.sources import FetchProgress
from rayllm.versions import is_made_for

_SCRIPT = Path(dump.__file__)


def arguments_at(engine: AnyEngine, python: str, device: Device, report: FetchProgress) -> ArgumentList:
    """The arguments of the engine that `python` has; the first time this imports the engine, for up to a minute.

    Args:
        engine: one that has `arguments`.
        python: the interpreter of its environment; nothing of it is imported into this process.
        device: what the engine computes on.
        report: told when there is a wait.

    Raises:
        RayllmError: it can't be asked; with the interpreter's own words.
    """
    arguments = engine.arguments
    if arguments is None:
        raise ValueError(f"engine {engine.name} has no arguments")
    installed = interpreters.run_script(python, _SCRIPT)
    content = "\0".join([installed, device.kind, arguments.parser, _SCRIPT.read_text(encoding="utf-8")])
    file = home() / "arguments" / f"{engine.name}-{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    if found := _kept(file):
        return found
    with locked(file.with_name(f".{file.name}.lock"), report, f"another process that asks {python}"):
        if found := _kept(file):
            return found
        report(f"asking {python} which arguments its {arguments.title} takes: up to a minute, this once")
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        ask(engine, python, device, draft)
        draft.replace(file)
    return read_list(file)


def ask(engine: AnyEngine, python: str, device: Device, file: Path) -> None:
    """Write to `file` what the engine that `python` has says of its arguments.

    Raises:
        RayllmError: it can't be asked; with the interpreter's own words.
    """
    if engine.arguments is None:
        raise ValueError(f"engine {engine.name} has no arguments")
    package = Requirement(engine.environment_for(device).needed).name
    interpreters.run_script(python, _SCRIPT, package, str(file), code=engine.arguments.parser)


def check_arguments(
    engine: AnyEngine,
    options: Mapping[str, Any],
    *,
    environment: str,
    version: str | None,
    python: str,
    device: Device,
    report: FetchProgress,
) -> None:
    """Check a model's own flags against the engine that is about to start.

    Args:
        engine: what is to start.
        options: the model's `options:`.
        environment: the model's `environment:`.
        version: the model's `version:`.
        python: the interpreter that was found for it.
        device: what the engine computes on.
        report: told when there is a wait.

    Raises:
        InputError: the engine lacks a flag, or does not take its value; all mistakes.
    """
    arguments = engine.arguments
    values = options.get(arguments.option) if arguments else None
    if not arguments or not values:
        return
    known: ArgumentList | None = None
    if environment == "auto" and python != sys.executable and is_made_for(engine, device, version):
        known = read_list(arguments.pinned[device.kind])  # RayLLM has built it
    elif device.here or device.kind == "cpu":
        try:
            known = arguments_at(engine, python, device, report)
        except RayllmError as error:
            report(f"the engine's arguments are left to itself to check: {error.message}: {error.cause}")
    found = complaints(arguments, known, values)
    if found:
        lines = [f"options.{arguments.option}.{one.sentence(values)}" for one in found]
        cure = "rayllm validate tells where; correct the file, then rayllm up"
        raise InputError("\n".join(lines), cure=cure, topic="engine-arguments")


def check_command(
    engine: AnyEngine, argv: Sequence[str], *, version: str | None, python: str, device: Device, report: FetchProgress
) -> None:
    """Check that another version of the engine than its plugin is made for has every flag it is about to get.

    Args:
        engine: what is to start.
        argv: its command line.
        version: the model's `version:`.
        python: the interpreter that was found for it.
        device: what the engine computes on.
        report: told when there is a wait.

    Raises:
        InputError: it lacks some.
    """
    if engine.arguments is None or is_made_for(engine, device, version):
        return
    try:
        known = arguments_at(engine, python, device, report)
    except RayllmError as error:
        report(f"the engine's arguments are left to itself to check: {error.message}: {error.cause}")
        return
    flags = [word.partition("=")[0] for word in argv if word.startswith("--")]
    lacking = [flag for flag in flags if known.long(flag_of(flag).partition(".")[0]) is None]
    if lacking:
        raise InputError(
            f"{engine.arguments.title} {known.version} has no {', '.join(lacking)}",
            cause=f"RayLLM's options for it are made for {engine.environment_for(device).needed}",
            cure="leave the options out that set it, or take another `version:`",
            topic="engine-arguments",
        )


def _kept(file: Path) -> ArgumentList | None:
    """What was written before; None where there is nothing that can be read."""
    try:
        return read_list(file)
    except (OSError, ValueError):
        return None
