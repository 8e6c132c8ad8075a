"""Imports one engine's plugin and calls it, in a Python of its own."""

from __future__ import annotations

import copy
import time
from typing import Any

from rayllm.engines import AnyEngine, Device
from rayllm.testing.engine_kit.samples import MADE_UP, launches, read, words
from rayllm.testing.outside.acts import Watch
from rayllm.testing.outside.discovering import discovered


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Look at `{"name": …, "point": …, "blocks": […], "check": …}`."""
    told, plugins = discovered(request["point"])
    engine = plugins.engines.get(request["name"])
    if engine is None:
        return told
    watch = Watch(MADE_UP)
    told |= called(engine, request["blocks"], watch)
    return {**told, "checks": checked(engine, watch) if request["check"] else {}}


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
    for kind in engine.devices if engine.check else ():
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
