"""A plugin's discovery: what it costs and brings. Imported first, so that nothing of the kit hides what it imports."""

from __future__ import annotations

import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import packaging.requirements  # noqa: F401  (a command has these before any plugin)

from rayllm import backends, engines, hookspecs, sources  # noqa: F401
from rayllm.plugins import GROUP, Plugins


def discovered(name: str) -> tuple[dict[str, Any], Plugins]:
    """The plugin's discovery: what it cost and brought."""
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    own = {point.module.partition(".")[0] for point in points} | {"rayllm", "pydantic", "pydantic_core"}
    before = set(sys.modules)
    begun, started, queued = time.monotonic(), time.process_time(), _queued()
    plugins = Plugins.discover(points, disabled="", heard=lambda _: None)  # what core says of it is not its own print
    list(plugins.engines)
    spent = time.process_time() - started
    idle = time.monotonic() - begun - spent - (_queued() - queued)
    brought = {module.partition(".")[0] for module in set(sys.modules) - before}
    there = {module.partition(".")[0] for module in before}
    foreign = brought - own - there - set(sys.stdlib_module_names)
    times = {"cpu_ms": round(spent * 1000, 1), "idle_ms": round(idle * 1000, 1)}
    return {**times, "foreign": sorted(foreign)}, plugins


def _queued() -> float:
    """Seconds that this process has waited for a core: a busy machine's, and no fault of a plugin. 0 if not told."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0
