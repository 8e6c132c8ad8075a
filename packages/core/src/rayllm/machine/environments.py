"""The engines' environments that were built on this machine: which there are, who needs them, and are they whole."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rayllm.engines import Device, Environment
from rayllm.errors import RayllmError
from rayllm.extras import variants
from rayllm.machine.processes import users_of
from rayllm.paths import home
from rayllm.plugins import Plugins
from rayllm.serving.prepare import interpreters, marker
from rayllm.serving.prepare.environments import folder_of
from rayllm.serving.prepare.marker import MARKER
from rayllm.serving.processes.file_lock import open_locked
from rayllm.serving.weights.hub_script_run import LIBRARY
from rayllm.serving.weights.stores.source import environment_of
from rayllm.serving.weights.stores.uri import SCHEMES

HUB = "hub"
"""Core's own environment in which weights are fetched from the hub; those for object stores are named by scheme."""
DEVICES = ("cpu", "cuda")
State = Literal["ready", "building", "unfinished", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEnvironment:
    """One environment on this machine."""

    name: str
    """Its folder's name: ENGINE-DEVICE-KEY."""
    path: str
    """Its folder."""
    engine: str
    """Whose it is."""
    device: str
    """`cpu` or `cuda`."""
    key: str
    """A digest of the exact requirements, the Python version and the platform."""
    state: State
    """`unfinished` is what a killed build left; in a `broken` one the interpreter is gone."""
    python: str
    """Version of its Python; empty where that does not run."""
    packages: int
    """How many are installed."""
    size: int
    """Bytes on disk; files that it shares with uv's cache or other environments count in full."""
    built: str
    """When it was finished, UTC, ISO 8601; empty where it was not."""
    wanted: bool
    """True if an installed engine plugin asks for exactly this one, for some options or for all, or a model asked for
    its `version`."""
    version: str
    """Of the engine, where a model's `version:` asked for another than the plugin's; else empty."""
    options: dict[str, str]
    """Of a model, those that need its packages beside the engine's own; else empty."""
    used_by: list[int]
    """Ids of the processes that run in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentCheck:
    """What a close look at one environment found."""

    name: str
    """The environment's."""
    state: Literal["whole", "damaged"]
    """Whether an engine can run in it."""
    cause: str = ""
    """What is wrong with it."""
    cure: str = ""
    """What to do about it."""


def folder() -> Path:
    """Where environments lie."""
    return home() / "environments"


def wanted_environments(plugins: Plugins) -> dict[str, tuple[str, Environment]]:
    """Those that the installed engines ask for, by folder name, with the engine's name."""
    found = {}
    for engine in plugins.engines.values():
        kinds = DEVICES if isinstance(engine.environment, Environment) else engine.environment
        for kind in kinds:
            device = Device(kind=kind)
            for options in variants(engine):
                environment = engine.environment_for(device, options=options)
                found[folder_of(engine.name, environment, device).name] = (engine.name, environment)
    ours = {HUB: Environment([LIBRARY]), **{scheme: environment_of(scheme) for scheme in SCHEMES}}
    return found | {folder_of(name, one, Device(kind="cpu")).name: (name, one) for name, one in ours.items()}


def environments(plugins: Plugins) -> list[BuiltEnvironment]:
    """All of them, by name."""
    wanted = wanted_environments(plugins)
    folders = [path for path in _folders() if len(path.name.rsplit("-", 2)) == 3]  # noqa: PLR2004  ENGINE-DEVICE-KEY
    users = users_of(folders)
    return [_look(path, path.name in wanted, users[path], plugins) for path in folders]


def state_of(path: Path) -> State | None:
    """State of the environment that lies in a folder; None if there is none."""
    if not path.is_dir():
        return None
    return _state(path, runs=interpreters.python_version(str(path / "bin" / "python")) is not None)


def check(found: BuiltEnvironment, plugins: Plugins) -> EnvironmentCheck:
    """Look closely: does its interpreter run, is every file there, can the engine be imported. Takes seconds."""
    if found.state == "building":
        return EnvironmentCheck(name=found.name, state="damaged", cause="it is being built", cure="wait for it")
    if found.state != "ready":
        cause = {"unfinished": "its build did not finish", "broken": "its Python is gone, or does not run"}[found.state]
        return EnvironmentCheck(name=found.name, state="damaged", cause=cause, cure=_cure(found))
    if missing := list(_damaged_files(Path(found.path))):
        cause = f"{len(missing)} files are missing or changed: {', '.join(missing[:3])}"
        return EnvironmentCheck(name=found.name, state="damaged", cause=cause, cure=_cure(found))
    try:
        if imports := _imports(found, plugins):
            interpreters.check_imports(str(Path(found.path, "bin/python")), imports, found.name)
    except RayllmError as error:
        return EnvironmentCheck(name=found.name, state="damaged", cause=error.cause or str(error), cure=_cure(found))
    return EnvironmentCheck(name=found.name, state="whole")


def removable(found: list[BuiltEnvironment], *, everything: bool) -> list[BuiltEnvironment]:
    """What `prune` takes away: what is not finished, broken or asked for by nobody; never what is built or used."""
    free = [one for one in found if one.state != "building" and not one.used_by]
    return [one for one in free if everything or one.state != "ready" or not one.wanted]


def remove(found: BuiltEnvironment) -> bool:
    """Delete one, unless somebody builds or uses it by now; whether it is gone.

    Raises:
        OSError: a file can't be deleted.
    """
    path = Path(found.path)
    lock = open_locked(_lock_of(path))
    if lock is None:
        return False
    with lock:
        if users_of([path])[path]:
            return False
        # First of all: what is left of a removal that was cut off must not pass for a whole environment.
        (path / MARKER).unlink(missing_ok=True)
        shutil.rmtree(path)
        return True


def _folders() -> list[Path]:
    with suppress(FileNotFoundError):
        return sorted(path for path in folder().iterdir() if path.is_dir() and not path.name.startswith("."))
    return []


def _look(path: Path, wanted: bool, users: list[int], plugins: Plugins) -> BuiltEnvironment:
    engine, device, key = path.name.rsplit("-", 2)
    version, built = interpreters.python_version(str(path / "bin" / "python")), marker.read(path)
    return BuiltEnvironment(
        name=path.name,
        path=str(path),
        engine=engine,
        device=device,
        key=key,
        state=_state(path, runs=version is not None),
        python=version or "",
        packages=len(list(path.glob("lib/python*/site-packages/*.dist-info"))),
        size=_size(path),
        built=built.date if built else "",
        wanted=wanted or bool(built and built.version),
        version=built.version if built else "",
        options=_options(path.name, plugins, built.version if built else ""),
        used_by=users,
    )


def _options(name: str, plugins: Plugins, version: str) -> dict[str, str]:
    """The options for which an environment of this name is made."""
    engine, kind, _ = name.rsplit("-", 2)
    offered, device = plugins.engines.get(engine), Device(kind=kind)
    if offered is None or kind not in offered.devices:
        return {}
    for options in variants(offered):
        with suppress(ValueError):  # the engine has no versions any more
            if folder_of(engine, offered.environment_for(device, version or None, options), device).name == name:
                return options
    return {}


def _state(path: Path, *, runs: bool) -> State:
    if marker.read(path):
        return "ready" if runs else "broken"
    lock = open_locked(_lock_of(path))
    if lock is None:
        return "building"
    lock.close()
    return "unfinished"


def _imports(found: BuiltEnvironment, plugins: Plugins) -> Sequence[str]:
    """What has to be importable in it; nothing where its engine is not installed here."""
    if found.version and found.engine in plugins.engines:
        return plugins.engines[found.engine].environment_for(Device(kind=found.device)).imports
    _, environment = wanted_environments(plugins).get(found.name, ("", Environment(())))
    return environment.imports


def _lock_of(path: Path) -> Path:
    """As `serving.prepare.environments` names it."""
    return path.with_name(f".{path.name}.lock")


def _size(path: Path) -> int:
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            total += file.lstat().st_size
    return total


def _damaged_files(path: Path) -> Iterator[str]:
    """Files of the installed packages that are missing or have another size than their package's record says."""
    for record in path.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        packages = record.parents[1]
        with record.open(encoding="utf-8", newline="") as lines:
            for name, digest, size in csv.reader(lines):
                file = packages / name
                if not file.exists() or (digest and size and file.stat().st_size != int(size)):
                    yield name


def _cure(found: BuiltEnvironment) -> str:
    if not found.wanted:
        return "nobody asks for it any more: rayllm env prune"
    if found.engine in {HUB, *SCHEMES}:
        return f"delete {found.path}; it is built anew when it is needed"
    version = f" --version {found.version}" if found.version else ""
    options = "".join(f" --option {name}={value}" for name, value in found.options.items())
    return f"build it anew: rayllm env build {found.engine} --device {found.device}{version}{options}"
