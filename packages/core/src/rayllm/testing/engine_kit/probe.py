"""The program that imports one engine's plugin and calls it: what it says, `look` reads."""

from __future__ import annotations

import copy
import json
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import packaging.requirements  # noqa: F401  (a command has these before any plugin)

from rayllm import backends, engines, hookspecs, sources  # noqa: F401
from rayllm.engines import AnyEngine, Device
from rayllm.plugins import GROUP, Plugins
from rayllm.testing.engine_kit.acts import Watch
from rayllm.testing.engine_kit.samples import MADE_UP, kinds, launches, read, words


def main() -> None:
    """Look at `{"engine": …, "point": …, "blocks": […], "check": …}` and write what was seen as JSON."""
    request, answer = json.loads(sys.argv[1]), Path(sys.argv[2])
    told, plugins = discovered(request["point"])
    engine = plugins.engines.get(request["engine"])
    if engine is not None:
        watch = Watch(MADE_UP)
        told |= called(engine, request["blocks"], watch)
        told["checks"] = checked(engine, watch) if request["check"] else {}
    answer.write_text(json.dumps(told))


def discovered(name: str) -> tuple[dict[str, Any], Plugins]:
    """The plugin's discovery: what it cost and brought."""
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    own = {point.module.partition(".")[0] for point in points} | {"rayllm", "pydantic", "pydantic_core"}
    before = set(sys.modules)
    started = time.process_time()
    plugins = Plugins.discover(points, disabled="", heard=lambda _: None)  # what core says of it is not its own print
    list(plugins.engines)
    spent = time.process_time() - started
    brought = {module.partition(".")[0] for module in set(sys.modules) - before}
    there = {module.partition(".")[0] for module in before}
    foreign = brought - own - there - set(sys.stdlib_module_names)
    return {"cpu_ms": round(spent * 1000, 1), "foreign": sorted(foreign)}, plugins


def called(engine: AnyEngine, blocks: list[dict[str, Any]], watch: Watch) -> dict[str, Any]:
    """Every launch of every block: what came of it, twice, and what was done meanwhile."""
    calls: list[Any] = []
    mutated: set[str] = set()
    for block in blocks:
        for launch in launches(engine, read(engine.options, block)):
            before = copy.deepcopy(dict(launch.options))
            for _ in range(2):
                with watch:
                    calls.append(_call(engine, launch))
            mutated |= {name for name, value in dict(launch.options).items() if value != before[name]}
    acts = list(dict.fromkeys(watch.acts))
    watch.acts.clear()
    return {"calls": calls, "acts": acts, "mutated": sorted(mutated)}


def _call(engine: AnyEngine, launch: Any) -> Any:
    try:
        return [words(command) for command in engine.commands(launch)]
    # Whether it may raise is another rule's question; here it has to raise the same everywhere.
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


def checked(engine: AnyEngine, watch: Watch) -> dict[str, Any]:
    """What `check` does on each kind of device."""
    found: dict[str, Any] = {}
    for kind in kinds(engine) if engine.check else ():
        started = time.monotonic()
        seen: dict[str, Any] = {"found": []}
        try:
            with watch:
                seen["found"] = [_shown(check) for check in engine.check(Device(kind=kind))] if engine.check else []
        # Told as what it is: the rule fails with it.
        except Exception as error:  # noqa: BLE001
            seen["error"] = f"{type(error).__name__}: {error}"
        changes = [act for act in watch.acts if not act.startswith(("reads ", "looks for ", "subprocess.", "os.posix"))]
        watch.acts.clear()
        found[kind] = {**seen, "seconds": time.monotonic() - started, "acts": changes}
    return found


def _shown(check: Any) -> list[str]:
    """Type, name, state, detail and cure."""
    fields = ("name", "state", "detail", "cure")
    return [type(check).__name__, *(str(getattr(check, name, "")) for name in fields)]
