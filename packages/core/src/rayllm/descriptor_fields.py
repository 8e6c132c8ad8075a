"""What may stand in each field of a descriptor: types are not checked when one is made, and a slip would show late."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, get_origin

from rayllm.backends import Backend
from rayllm.engines import Adapters, Engine, EngineArguments, Environment, Gauges, Options
from rayllm.sources import ModelSource

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what is said of one that is not."""


def _is_words(value: Any) -> bool:
    # One text is a collection of texts, too; a generator would be empty once somebody has looked at it.
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


def _are_capabilities(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _is_words(value.keys()) and all(map(_is_words, value.values()))
    return _is_words(value)


def _is_environment(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(kind, str) and isinstance(one, Environment) for kind, one in value.items())
    return isinstance(value, Environment)


def _is_options(value: Any) -> bool:
    # In Python 3.10 `dict[str, int]` calls itself a class, and is none.
    return get_origin(value) is None and isinstance(value, type) and issubclass(value, Options)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_extras(value: Any) -> bool:
    values = value.values() if isinstance(value, Mapping) else [None]
    return all(isinstance(by, Mapping) and all(map(_is_words, by.values())) for by in values)


def _are_files(value: Any) -> bool:
    if not isinstance(value, Mapping) or not all(isinstance(word, str) for pair in value.items() for word in pair):
        return False
    paths = map(PurePosixPath, value)
    return all(path.parts and not path.is_absolute() and ".." not in path.parts for path in paths)


def _optional(kind: type) -> Rule:
    return lambda value: value is None or isinstance(value, kind), f"is neither None nor of {kind.__name__}"


_TEXT: Rule = (_is_text, "is no text")
_FUNCTION: Rule = (callable, "is not a function")
_FUNCTION_OR_NONE: Rule = (lambda value: value is None or callable(value), "is neither None nor a function")
_OPTIONS: Rule = (_is_options, "is not a subclass of rayllm.Options")
_WORDS: Rule = (_is_words, "is not a set, list or tuple of texts")
_CAPABILITIES: Rule = (
    _are_capabilities,
    "is neither a set, list or tuple of texts nor a mapping of devices to them",
)
_EXTRAS: Rule = (_are_extras, "is not a mapping of options to what their values need")
_FILES: Rule = (_are_files, "is not a mapping of paths below site-packages to texts")
_ENVIRONMENT: Rule = (_is_environment, "is neither an Environment nor a mapping of them")
_OF_ENVIRONMENT = {"requires": _WORDS, "imports": _WORDS, "files": _FILES, "beside": _WORDS, "without": _WORDS}
RULES: Mapping[type, Mapping[str, Rule]] = {
    Engine: {
        "name": _TEXT,
        "summary": _TEXT,
        "options": _OPTIONS,
        "environment": _ENVIRONMENT,
        "commands": _FUNCTION,
        "capabilities": _CAPABILITIES,
        "endpoints": _WORDS,
        "gauges": _optional(Gauges),
        "explain": _FUNCTION_OR_NONE,
        "arguments": _optional(EngineArguments),
        "shape": _FUNCTION_OR_NONE,
        "memory": _FUNCTION_OR_NONE,
        "extras": _EXTRAS,
        "adapters": _optional(Adapters),
        "check": _FUNCTION_OR_NONE,
    },
    Backend: {
        "name": _TEXT,
        "summary": _TEXT,
        "options": _OPTIONS,
        "open": _FUNCTION,
        "capabilities": _WORDS,
        "check": _FUNCTION_OR_NONE,
        "endpoint": _FUNCTION_OR_NONE,
        "refuse": _FUNCTION_OR_NONE,
    },
    ModelSource: {
        "scheme": _TEXT,
        "summary": _TEXT,
        "check": _FUNCTION,
        "fetch": _FUNCTION,
        "look": _FUNCTION_OR_NONE,
    },
}


def wrong_fields(item: Any, name: str) -> Iterator[str]:
    """What is wrong with a descriptor's fields, each in one sentence that names the field.

    Args:
        item: the descriptor.
        name: what it is called.
    """
    kind = type(item).__name__
    for descriptor, rules in RULES.items():
        if isinstance(item, descriptor):
            for field, (is_right, words) in rules.items():
                if not is_right(getattr(item, field)):
                    yield f'{kind}.{field} of "{name}" {words}'
    environment = getattr(item, "environment", {})
    environments = environment.values() if isinstance(environment, Mapping) else [environment]
    for one in environments:
        for field, (is_right, words) in _OF_ENVIRONMENT.items():
            if isinstance(one, Environment) and not is_right(getattr(one, field)):
                yield f'Environment.{field} of "{name}" {words}'
