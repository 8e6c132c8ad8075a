"""The Lua that HAProxy runs: files of `lua/`, packaged with the code and written beside the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rayllm.serving.haproxy.access import MAY_FILE
from rayllm.serving.haproxy.naming import ADAPTERS_FILE, NAMES_FILE

_FOLDER = Path(__file__).with_name("lua")
_MODELS = "models.lua"
_JSON = "json.lua"
_BODY = "body.lua"
_USAGE = "usage.lua"
_FILTER = "filter.lua"


def files() -> dict[str, str]:
    """Every script, by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.lua"))}


def loads() -> Iterator[str]:
    """Lines that load them, once for each thread: none waits for another."""
    yield f"lua-load-per-thread {_MODELS} {NAMES_FILE} {MAY_FILE} {ADAPTERS_FILE}"
    yield f"lua-load-per-thread {_JSON}"
    yield f"lua-load-per-thread {_BODY}"
    yield f"lua-load-per-thread {_USAGE}"
    yield f"lua-load-per-thread {_FILTER}"


def loads_for_bodies() -> Iterator[str]:
    """The same for the HAProxy that only reads bodies, with a single thread."""
    yield f"lua-load {_JSON}"
    yield f"lua-load {_BODY}"
