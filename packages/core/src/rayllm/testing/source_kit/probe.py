"""Imports one source's plugin and lets it check URIs, in a Python of its own."""

from __future__ import annotations

from typing import Any

from rayllm.sources import ModelSource
from rayllm.testing.outside.acts import Watch
from rayllm.testing.outside.discovering import discovered

_NOWHERE = "/nowhere"


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Look at `{"name": …, "point": …, "uris": […]}`."""
    told, plugins = discovered(request["point"])
    source = plugins.sources.get(request["name"])
    if source is None:
        return told
    for uri in request["uris"]:
        _checked(source, uri)  # imports what it imports
    watch = Watch(_NOWHERE)
    with watch:
        told["said"] = [_checked(source, uri) for uri in request["uris"] for _ in range(2)]
    return {**told, "acts": list(dict.fromkeys(watch.acts))}


def _checked(source: ModelSource, uri: str) -> Any:
    try:
        return source.check(uri)
    # Whether it may raise is another rule's question.
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
