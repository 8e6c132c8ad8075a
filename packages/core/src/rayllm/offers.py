"""What one plugin's hooks returned, checked against the contract."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pluggy

from rayllm import hookspecs
from rayllm.backends import AnyBackend, Backend
from rayllm.descriptor_fields import wrong_fields
from rayllm.engines import AnyEngine, Engine
from rayllm.errors import PluginError
from rayllm.names import did_you_mean
from rayllm.sources import ModelSource


@dataclass(slots=True)
class Offers:
    """Descriptors by name."""

    engines: dict[str, AnyEngine] = field(default_factory=dict)
    backends: dict[str, AnyBackend] = field(default_factory=dict)
    sources: dict[str, ModelSource] = field(default_factory=dict)

    def names(self) -> Iterator[str]:
        """Like `engine vllm`, `backend local`."""
        return (f"{kind.word} {name}" for kind in HOOKS.values() for name in kind.of(self))


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of descriptor."""

    word: str
    type: type
    key: str
    """The attribute that names it."""
    pattern: str
    attribute: str
    """Where `Offers` keeps it."""

    def of(self, offers: Offers) -> dict[str, Any]:
        """The descriptors of this kind."""
        found: dict[str, Any] = getattr(offers, self.attribute)
        return found


WORDS = r"[a-z0-9]+(-[a-z0-9]+)*"
HOOKS = {
    "rayllm_engines": Kind("engine", Engine, "name", WORDS, "engines"),
    "rayllm_backends": Kind("backend", Backend, "name", WORDS, "backends"),
    "rayllm_model_sources": Kind("source", ModelSource, "scheme", r"[a-z][a-z0-9+.-]*", "sources"),
}


EVENT_HOOK = "rayllm_event"
"""The hook that offers nothing, and is called when something happens."""


_ANY = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})


def require_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse a plugin that was meant to offer something, and by a slip offers nothing.

    pluggy would refuse most of it, too, in words that name no cure.
    """
    hooks = (*HOOKS, EVENT_HOOK)
    marked = {name: told for name in dir(plugin) if (told := manager.parse_hookimpl_opts(plugin, name)) is not None}
    for name in hooks:
        if callable(getattr(plugin, name, None)) and name not in marked:
            raise PluginError(f"{name} lacks @hookimpl")
    for name, told in marked.items():
        if name in hooks:
            _require_known_arguments(name, getattr(plugin, name))
        elif not told.get("optionalhook"):
            raise PluginError(f"{name} is no hook{did_you_mean(name, hooks)}")
    if not marked:
        raise PluginError("it has no function marked with @hookimpl")


def _require_known_arguments(name: str, function: Callable[..., Any]) -> None:
    given = inspect.signature(getattr(hookspecs, name)).parameters
    asked = inspect.signature(function).parameters.values()
    needed = [one.name for one in asked if one.default is one.empty and one.kind not in _ANY]
    if more := [name for name in needed if name not in given]:
        raise PluginError(f"{name}() asks for {', '.join(more)}, which the hook does not have")


def collect(manager: pluggy.PluginManager, others: Collection[object]) -> Offers:
    """Call the hooks of the one plugin that is not among `others`, and read generators to their end.

    Raises:
        PluginError: it offers something else than the hook asks for, or one name twice.
    """
    offers = Offers()
    for hook, kind in HOOKS.items():
        caller = manager.subset_hook_caller(hook, others)
        batches = caller()
        if len(batches) < len(caller.get_hookimpls()):
            raise PluginError(f"{hook}() returned None, where an iterable of {kind.type.__name__} is wanted")
        found = kind.of(offers)
        for item in (item for batch in batches for item in _iterate(hook, kind, batch)):
            name = _check(hook, kind, item)
            if name in found:
                raise PluginError(f'it offers {kind.word} "{name}" twice')
            found[name] = item
    return offers


def _iterate(hook: str, kind: Kind, batch: Any) -> Iterator[Any]:
    try:
        return iter(batch)
    except TypeError as error:
        raise PluginError(
            f"{hook}() returned {type(batch).__name__}, where an iterable of {kind.type.__name__} is wanted"
        ) from error


def _check(hook: str, kind: Kind, item: Any) -> str:
    """The item's name, if the item is as the contract wants it."""
    wanted = kind.type.__name__
    if not isinstance(item, kind.type):
        raise PluginError(f"{hook}() offers a {type(item).__name__}, where {wanted} is wanted")
    name = getattr(item, kind.key)
    if not isinstance(name, str) or not re.fullmatch(kind.pattern, name):
        raise PluginError(f"{wanted}.{kind.key} {name!r} is not of the form {kind.pattern}")
    if found := list(wrong_fields(item, name)):
        raise PluginError("; ".join(found))
    return name
