"""What `doctor` asks of this machine, whatever is deployed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rayllm import __version__
from rayllm.checks import Check
from rayllm.plugins import Plugins
from rayllm.serving.prepare.room import in_words
from rayllm.serving.prepare.uv import installed

LITTLE = 2 * 10**9
"""Bytes of memory with which no model starts."""


def platform_checks() -> Iterator[Check]:
    """The system, and the versions for a report."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    detail = f"{system}, Python {platform.python_version()}, RayLLM {__version__}"
    if sys.platform == "linux":
        yield Check(name="platform", detail=detail)
    else:
        cure = "as the operator's machine it will do; nodes run Linux"
        yield Check(name="platform", state="warn", detail=detail, cure=cure)


def plugin_checks(plugins: Plugins) -> Iterator[Check]:
    """Which are loaded; each that is broken, with its cause; each that takes long or prints."""
    loaded = [info.name for info in plugins.infos if info.state == "loaded"]
    yield Check(name="plugins", detail=f"{len(loaded)} loaded: {', '.join(loaded)}")
    for info in plugins.broken:
        yield Check(name="plugins", state="fail", detail=f"{info.title}: {info.cause}", cure=info.cure or "")
    for info in plugins.infos:
        for oddity in info.oddities:
            yield Check(name="plugins", state="warn", detail=f"{info.title} {oddity}", cure=info.examined_by)


def uv_checks() -> Iterator[Check]:
    """The tool that builds environments."""
    if path := installed():
        yield Check(name="uv", detail=path)
    else:
        detail = "not on this machine; pip installs one under RAYLLM_HOME when it is needed"
        yield Check(name="uv", state="warn", detail=detail, cure=f"{sys.executable} -m pip install uv")


def memory_checks() -> Iterator[Check]:
    """Main memory that is free for models."""
    amounts: dict[str, int] = {}
    with suppress(OSError):  # no Linux
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(":")
            amounts[key] = int(value.split()[0]) * 1024
    if not {"MemAvailable", "MemTotal"} <= amounts.keys():
        return
    free = amounts["MemAvailable"]
    detail = f"{in_words(free)} of {in_words(amounts['MemTotal'])} free"
    if free < LITTLE:
        yield Check(name="memory", state="warn", detail=detail, cure="end what takes it; even a small model needs 2 GB")
    else:
        yield Check(name="memory", detail=detail)
