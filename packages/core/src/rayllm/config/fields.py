"""Which keys a pydantic model knows at a place inside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel

from rayllm.config.document import KeyPath


def keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that may stand in the mapping at `path`; none where it isn't a model's."""
    places: list[Any] = [model]
    for part in path:
        places = [inner for place in places for inner in _inside(place, part)]
    models = [found for place in places for found in _models(place)]
    return sorted({info.alias or name for found in models for name, info in found.model_fields.items()})


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether this type is a model itself; in Python 3.10 `list[X]` calls itself a class, and is none."""
    return get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in `A | list[B] | None`, not looking into lists."""
    if _is_model(annotation):
        yield annotation
    elif get_origin(annotation) not in {list, tuple, dict, set, frozenset}:
        for argument in get_args(annotation):
            yield from _models(argument)


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    """What stands under one key, or one index, of something of this type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if _is_model(annotation):
        for name, info in annotation.model_fields.items():
            if part == (info.alias or name):
                yield info.annotation
    elif origin is not None and isinstance(origin, type) and arguments and issubclass(origin, dict):
        yield arguments[-1]
    elif origin in {list, tuple, set, frozenset}:
        yield from (argument for argument in arguments if argument is not ...)
    else:
        for argument in arguments:
            yield from _inside(argument, part)
