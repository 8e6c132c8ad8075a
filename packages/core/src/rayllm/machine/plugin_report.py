"""Looking at one plugin closely: its traceback, what of its time is which import, what it requires, its hooks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

from rayllm import hookspecs
from rayllm.errors import InputError, RayllmError
from rayllm.names import did_you_mean
from rayllm.plugin_info import PluginInfo
from rayllm.plugins import Plugins, relay

IMPORT_S = 60.0
"""Seconds after which an import that is being measured is given up."""
HEAVIEST = 5
"""How many packages are named with the time they take."""
_LINE = re.compile(r"^import time:\s+(?P<own>\d+) \|\s+\d+ \|\s+(?P<module>\S+)$", re.MULTILINE)
_MARK = "-- the plugin --"
_MEASURE = f"""
import json, sys
from importlib.metadata import EntryPoint
sys.path[:], point = json.loads(sys.argv[1])
from rayllm.plugins import Plugins
sys.stderr.write("\\n{_MARK}\\n")
try:
    __import__(point[1].partition(":")[0])  # as a statement would: what importlib imports is not timed itself
except BaseException:
    pass
Plugins.discover([EntryPoint(*point)], disabled="", heard=lambda line: None).infos
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Something that a plugin's distribution says it needs."""

    text: str
    """As it is written: `rayllm-core>=0.1,<0.2`."""
    installed: str | None
    """The version that is here; null if there is none."""
    fits: bool
    """Whether that is one of those it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTime:
    """What importing a package takes, without what it imports from others."""

    package: str
    """The package, or module at the top."""
    ms: float
    """Milliseconds, in a process of its own; somewhat more than without measuring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """One plugin, looked at closely."""

    plugin: PluginInfo
    """As `rayllm plugins` lists it."""
    file: str | None
    """Where its module is; null if it can't be found."""
    hooks: list[str]
    """The hooks that its module implements."""
    requires: list[Requirement]
    """What its distribution needs, Python included."""
    imports: list[ImportTime]
    """What takes most of the time to load it, the longest first."""
    traceback: str
    """Where it failed, without the steps that are RayLLM's or Python's own; empty where the cause says all."""
    cures: list[str]
    """What to do about what is wrong."""


def report(name: str) -> PluginReport:
    """Look at the installed plugin of this name; also one that the kill switch leaves out.

    Raises:
        InputError: there is none.
    """
    plugins = Plugins.discover(disabled="", heard=lambda _: None, printed=partial(_show, name))
    named = [(point, info) for point, info in plugins.entries if info.name == name]
    if not named:
        names = [info.name for info in plugins.infos]
        raise InputError(f'no plugin "{name}" is installed{did_you_mean(name, names)}', cure="rayllm plugins lists all")
    # Of two with one name, the later is the one that is left out: who asks wants to know about that.
    point, info = max(named, key=lambda pair: pair[1].state == "broken")
    requires = list(_requires(point))
    fault = plugins.faults.get(name)
    return PluginReport(
        plugin=info,
        file=_file(info.module),
        hooks=_hooks(info.module),
        requires=requires,
        imports=list(_measured(point)),
        traceback=_shown(fault) if fault else "",
        cures=list(_cures(info, requires)),
    )


def _show(name: str, info: PluginInfo, text: str) -> None:
    """What the plugin prints, not what the others do."""
    if info.name == name:
        relay(info, text)


def _file(name: str) -> str | None:
    """Of a module that may not have been imported; importing what is above it could fail, too."""
    if file := getattr(sys.modules.get(name), "__file__", None):
        return str(file)
    path = name.replace(".", "/")
    places = (Path(folder, place) for folder in sys.path for place in (f"{path}/__init__.py", f"{path}.py"))
    return next((str(place) for place in places if name and place.is_file()), None)


def _hooks(name: str) -> list[str]:
    """By what pluggy's marker leaves on a function."""
    names = [name for name in vars(hookspecs) if name.startswith("rayllm_")]
    module = sys.modules.get(name)
    return [name for name in names if hasattr(getattr(module, name, None), f"{hookspecs.PROJECT}_impl")]


def _requires(point: EntryPoint) -> Iterator[Requirement]:
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    from packaging.requirements import Requirement as Parsed
    from packaging.specifiers import SpecifierSet

    if not point.dist:
        return
    if "Requires-Python" in point.dist.metadata:
        python = point.dist.metadata["Requires-Python"]
        fits = SpecifierSet(python).contains(python_version(), prereleases=True)
        yield Requirement(text=f"python{python}", installed=python_version(), fits=fits)
    for line in map(Parsed, point.dist.requires or ()):
        if line.marker and not line.marker.evaluate({"extra": ""}):
            continue
        try:
            here = version(line.name)
        except PackageNotFoundError:
            here = None
        fits = here is not None and line.specifier.contains(here, prereleases=True)
        yield Requirement(text=str(line), installed=here, fits=fits)


def _measured(point: EntryPoint) -> Iterator[ImportTime]:
    """What Python says of the imports, by package: in a process of its own, where nothing of it is loaded yet."""
    told = json.dumps([sys.path, [point.name, point.value, point.group]])
    argv = [sys.executable, "-X", "importtime", "-c", _MEASURE, told]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=IMPORT_S, check=False)
    except subprocess.TimeoutExpired:
        return
    took: Counter[str] = Counter()
    for line in _LINE.finditer(done.stderr.partition(_MARK)[2]):
        took[line["module"].partition(".")[0]] += int(line["own"])
    for package, microseconds in took.most_common(HEAVIEST):
        yield ImportTime(package=package, ms=round(microseconds / 1000, 1))


def _shown(fault: BaseException) -> str:
    """A traceback from the plugin's first line on."""
    if isinstance(fault, RayllmError):
        return ""
    told = traceback.TracebackException.from_exception(fault)
    own = Path(__file__).parents[1]
    while told.stack and not _is_theirs(told.stack[0].filename, own):
        told.stack.pop(0)
    return "".join(told.format()).rstrip()


def _is_theirs(filename: str, own: Path) -> bool:
    if filename.startswith("<frozen") or Path(filename).parent == own:
        return False
    return not {"pluggy", "importlib"} & set(Path(filename).parts)


def _cures(info: PluginInfo, requires: list[Requirement]) -> Iterator[str]:
    for wanted in requires:
        cure = f'pip install "{wanted.text}"'
        if not wanted.fits and not wanted.text.startswith("python") and cure not in (info.cure or ""):
            yield cure
    if info.is_slow:
        yield "whose plugin it is: import what is heavy inside the function that needs it"
    if info.prints:
        yield "whose plugin it is: print nothing when it is imported; its hooks print nothing, either"
    if info.cure:
        yield info.cure
