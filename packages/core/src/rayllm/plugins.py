"""Find the installed plugins, import those that are asked for, and keep each one's faults to itself.

A plugin that fails to import, raises in a hook, offers a wrong type or a taken name is set aside with its cause and
cure in `Plugins.infos`; everything else goes on. Who discovers them says who is told.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from rayllm import hookspecs, plugin_info
from rayllm.backends import AnyBackend
from rayllm.engines import AnyEngine
from rayllm.entry_points import GROUP, OBSERVER, installed, order, require_our_version
from rayllm.errors import PluginError
from rayllm.loading import Waiting
from rayllm.offers import EVENT_HOOK, Offers, collect, require_hooks
from rayllm.on_demand import Offered
from rayllm.plugin_info import CORE, KILL_SWITCH, PluginInfo
from rayllm.sources import ModelSource
from rayllm.streams import stdout_caught

__all__ = ["GROUP", "EventHook", "Listener", "PluginInfo", "Plugins"]

Listener = Callable[[str], None]
"""Is told, in one line, of a plugin that was set aside, or is used and odd."""
EventHook = Callable[..., list[Any]]
"""Called as `hook(event=...)`; the results are none."""
Printed = Callable[[PluginInfo, str], None]
"""Is given what a plugin printed while it was loaded."""


class Plugins:
    """The plugins of this process. Not a singleton: a test makes its own."""

    def __init__(self) -> None:
        self.engines: Offered[AnyEngine] = Offered("engine", self._seek)
        self.backends: Offered[AnyBackend] = Offered("backend", self._seek)
        self.sources: Offered[ModelSource] = Offered("source", self._seek)
        self.faults: dict[str, BaseException] = {}
        """What set a plugin aside, by the name of its entry point: its traceback shows where."""
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: list[tuple[EntryPoint, PluginInfo]] = []
        self._pending: list[EntryPoint] = []
        """In the order of loading."""
        self._off: Collection[str] = ()
        self._deaf: set[str] = set()
        """Plugins that could not be told of an event."""
        self._heard: Listener = _log
        self._waits: Listener = _log
        self._printed: Printed = relay
        self._lock = threading.RLock()
        """Commands of the asynchronous API run in threads."""

    @classmethod
    def discover(
        cls,
        points: Iterable[EntryPoint] | None = None,
        disabled: str | None = None,
        heard: Listener | None = None,
        *,
        waits: Listener | None = None,
        printed: Printed | None = None,
    ) -> Plugins:
        """Find every plugin; each is imported once something is asked for that it may offer.

        A plugin's fault is never raised, here or later.

        Args:
            points: the entry points; by default those of the installed distributions.
            disabled: names separated by commas, or `*` for all but core's own; by default
                `$RAYLLM_PLUGINS_DISABLED`.
            heard: told in one line of each plugin that is set aside, takes long or prints, when that happens; by
                default a warning is logged, which Python shows on stderr.
            waits: told in one line, from a thread, of a plugin whose loading goes on for seconds; by default as above.
            printed: given what a plugin printed while it was loaded; by default that goes to stderr.
        """
        found, damaged = installed() if points is None else (points, [])
        switch = os.environ.get(KILL_SWITCH, "") if disabled is None else disabled
        plugins = cls()
        plugins._off = {name.strip() for name in switch.split(",")}
        plugins._heard = heard or _log
        plugins._waits = waits or _log
        plugins._printed = printed or relay
        for info in damaged:
            plugins._loaded.append((EntryPoint(info.name, "", GROUP), info))
            plugins._heard(plugin_info.left_out(info))
        plugins._pending = sorted(found, key=order)
        plugins._load_some([point for point in plugins._pending if point.value == CORE])
        return plugins

    @property
    def entries(self) -> list[tuple[EntryPoint, PluginInfo]]:
        """Every entry point and what became of it, in the order of their names, core's own first. Imports them all."""
        self._load_some(list(self._pending))
        return sorted(self._loaded, key=lambda pair: order(pair[0]))

    @property
    def infos(self) -> list[PluginInfo]:
        """What became of every entry point, in the same order. Imports all of them."""
        return [info for _, info in self.entries]

    @property
    def broken(self) -> list[PluginInfo]:
        """Those that were set aside. Imports all of them."""
        return [info for info in self.infos if info.state == "broken"]

    def origin_of(self, kind: str, name: str) -> PluginInfo:
        """The plugin that offers `name`; `kind` is `engine`, `backend` or `source`.

        Raises:
            KeyError: nobody offers it.
        """
        for wanted in (f"{kind}-{name}", None):
            for _, info in self._loaded:
                if f"{kind} {name}" in info.offers:
                    return info
            self._seek(wanted)
        for _, info in self._loaded:
            if f"{kind} {name}" in info.offers:
                return info
        raise KeyError(f"{kind} {name}")

    def observers(self) -> list[tuple[PluginInfo, EventHook]]:
        """Who is to be told of an event: the plugins called `observer-NAME`, imported now, and others that are loaded.

        One that could not be told before is left out.
        """
        self._load_some([point for point in self._pending if point.name.startswith(OBSERVER)])
        watching = [info for _, info in self._loaded if "events" in info.offers and info.name not in self._deaf]
        return [(info, self._hook_of(info)) for info in watching]

    def deafen(self, info: PluginInfo, cause: str) -> None:
        """Tell a plugin of no more events; what else it offers stays."""
        if info.name not in self._deaf:
            self._deaf.add(info.name)
            self._heard(plugin_info.deaf(info, cause))

    def _hook_of(self, info: PluginInfo) -> EventHook:
        own = self._manager.get_plugin(info.name)
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not own]
        return self._manager.subset_hook_caller(EVENT_HOOK, others)

    def _seek(self, name: str | None) -> None:
        """Load the plugins whose entry point has this name; for None all that may offer something."""
        found = [
            point
            for point in self._pending
            if (not point.name.startswith(OBSERVER) if name is None else point.name == name)
        ]
        self._load_some(found)

    def _load_some(self, points: Iterable[EntryPoint]) -> None:
        with self._lock:
            found = [point for point in points if point in self._pending]  # another thread may have been here
            if not found:
                return
            with Waiting(self._waits).watching() as waiting:
                for point in found:
                    if point in self._pending:  # a plugin that looks for others while it is loaded
                        self._pending.remove(point)
                        self._add(point, waiting)

    def _add(self, point: EntryPoint, waiting: Waiting) -> None:
        """Load one plugin and read what it offers, or leave no trace of it but its info."""
        info = PluginInfo.of(point)
        waiting.loads(info)
        earlier = next((i for _, i in self._loaded if i.name == info.name and i.state != "disabled"), None)
        self._loaded.append((point, info))
        if self._is_off(point):
            info.state = "disabled"
            return
        try:
            if earlier:
                raise PluginError(f'the name "{info.name}" is taken by {earlier.title}')  # noqa: TRY301
            self._load(point, info)
        except KeyboardInterrupt:
            raise
        # A module that calls sys.exit or pytest.skip when imported costs only itself, too.
        except BaseException as error:  # noqa: BLE001
            info.break_with(error)
            self.faults.setdefault(info.name, error)
            self._heard(plugin_info.left_out(info))
        for oddity in info.oddities:
            self._heard(plugin_info.odd(info, oddity))

    def _is_off(self, point: EntryPoint) -> bool:
        return point.name in self._off or ("*" in self._off and point.value != CORE)

    def _load(self, point: EntryPoint, info: PluginInfo) -> None:
        require_our_version(point)
        others = self._manager.get_plugins()
        with self._set_apart(info):
            offers, watches = self._register(point, others)
        self.engines.update(offers.engines)
        self.backends.update(offers.backends)
        self.sources.update(offers.sources)
        info.capabilities = {
            name: {kind: sorted(engine.can(kind)) for kind in engine.devices} for name, engine in offers.engines.items()
        }
        info.offers = (*offers.names(), *(["events"] if watches else []))

    @contextmanager
    def _set_apart(self, info: PluginInfo) -> Iterator[None]:
        """Take the time of what is done, and keep what it prints out of a command's results."""

        def told(text: str) -> None:
            info.prints = True
            self._printed(info, text)

        started = time.perf_counter()
        try:
            with stdout_caught(told):
                yield
        finally:
            info.import_ms = round((time.perf_counter() - started) * 1000, 1)

    def _register(self, point: EntryPoint, others: Collection[object]) -> tuple[Offers, bool]:
        """What the plugin offers, and whether it is told of events."""
        plugin = point.load()
        require_hooks(self._manager, plugin)
        try:
            self._manager.register(plugin, point.name)
            offers = collect(self._manager, others)
            self._refuse_taken(offers, point)
            watches = bool(self._manager.subset_hook_caller(EVENT_HOOK, others).get_hookimpls())
            _require_observer(point, offers, watches=watches)
        except BaseException:
            # pluggy before 1.7 keeps a plugin whose registration failed.
            if plugin not in others and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise
        return offers, watches

    def _refuse_taken(self, offers: Offers, point: EntryPoint) -> None:
        """A name belongs to the plugin that is called after it, else to the first that offers it.

        So it does not matter which was imported first.
        """
        points = [*self._pending, *(other for other, _ in self._loaded)]
        names = {other.name for other in points if other.name != point.name and not self._is_off(other)}
        taken = {name: info for _, info in self._loaded for name in info.offers}
        for name in offers.names():
            if (owner := name.replace(" ", "-")) in names:
                raise PluginError(f"{_quoted(name)} is the name of the plugin {owner}")
            if info := taken.get(name):
                raise PluginError(f"{_quoted(name)} is taken by {info.title}")


def _require_observer(point: EntryPoint, offers: Offers, *, watches: bool) -> None:
    """Refuse what would be looked for in vain under a name that says when the plugin is imported."""
    if not point.name.startswith(OBSERVER):
        return
    if not watches:
        raise PluginError(f'it is called "{point.name}" and has no {EVENT_HOOK}')
    if found := ", ".join(map(_quoted, offers.names())):
        raise PluginError(f"it offers {found}, and is called after an observer: give that an entry point of its own")


def _log(line: str) -> None:
    import logging  # which most commands can do without

    logging.getLogger(__name__).warning(line)


def relay(info: PluginInfo, text: str) -> None:
    """A plugin's output, for a person to see."""
    del info
    with suppress(AttributeError, OSError, ValueError):  # there is no stderr, or it is closed
        sys.stderr.write(text)
        sys.stderr.flush()


def _quoted(offer: str) -> str:
    """`engine "vllm"`."""
    kind, _, name = offer.partition(" ")
    return f'{kind} "{name}"'
