"""Packages that some options of an engine need beside its environment's: which do, and all there may be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from rayllm.engines import AnyEngine


def chosen(engine: AnyEngine, options: Mapping[str, Any]) -> dict[str, str]:
    """Of a model's options, those that need packages of their own."""
    given = {name: options.get(name) for name in engine.extras}
    return {name: value for name, value in given.items() if isinstance(value, str) and value in engine.extras[name]}


def extras_for(engine: AnyEngine, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What a model's options need beside the engine's environment, as requirements."""
    found = chosen(engine, options).items()
    return tuple(dict.fromkeys(line for name, value in found for line in engine.extras[name][value]))


def variants(engine: AnyEngine) -> Iterator[dict[str, str]]:
    """Every set of options that makes another environment; the first is empty."""
    names = list(engine.extras)
    for values in product(*(("", *engine.extras[name]) for name in names)):
        yield {name: value for name, value in zip(names, values, strict=True) if value}
