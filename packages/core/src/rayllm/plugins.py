"""Find the installed plugins, import those that are asked for, and keep each one's faults to itself.

A plugin that fails to import, raises in a hook, offers a wrong type or a taken name is set aside with its cause and
cure in `Plugins.infos`; everything else goes on. Nothing is printed here: the command line does that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, TypeVar

import pluggy

from rayllm import hookspecs
from rayllm.backends import AnyBackend
from rayllm.engines import AnyEngine
from rayllm.errors import PluginError
from rayllm.offers import Offers, collect, require_hooks
from rayllm.sources import ModelSource
from rayllm.streams import stdout_to_stderr

GROUP = "rayllm"
KILL_SWITCH = "RAYLLM_PLUGINS_DISABLED"
CORE = "rayllm.builtin"
"""Module of core's own plugin, which comes first, so that nobody can take its names."""


@dataclass(slots=True, kw_only=True)
class PluginInfo:
    """What became of one entry point."""

    name: str
    """The entry point's name, as the kill switch knows it."""
    module: str
    """What the entry point names."""
    distribution: str | None = None
    """Who brought it; None if unknown."""
    version: str | None = None
    """The distribution's."""
    state: Literal["loaded", "broken", "disabled"] = "loaded"
    """What became of it."""
    offers: tuple[str, ...] = ()
    """`engine vllm`, `backend local`, `source file`, …"""
    cause: str | None = None
    """Why it is broken; an exception's own words."""
    cure: str | None = None
    """What to do about it."""
    import_ms: float | None = None
    """Milliseconds its import took; None where it was not tried."""

    @property
    def title(self) -> str:
        """`engine-x (rayllm-engine-x 0.3.1)`."""
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name


Listener = Callable[[PluginInfo], None]
DescriptorT = TypeVar("DescriptorT")


class Offered(MutableMapping[str, DescriptorT]):
    """What plugins offer of one kind, by name. A plugin is imported when something that it may offer is asked for.

    A look at one name imports the plugin whose entry point is called after it (`engine-vllm` for the engine `vllm`),
    and the others only if that one does not offer it; a look at all names imports every plugin.
    """

    def __init__(self, kind: str, seek: Callable[[str | None], None]) -> None:
        self._kind = kind
        self._seek = seek
        self._loaded: dict[str, DescriptorT] = {}

    def __getitem__(self, name: str) -> DescriptorT:
        if name not in self._loaded:
            self._seek(f"{self._kind}-{name}")
        if name not in self._loaded:
            self._seek(None)
        return self._loaded[name]

    def __setitem__(self, name: str, item: DescriptorT) -> None:
        self._loaded[name] = item

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        self._seek(None)
        return iter(self._loaded)

    def __len__(self) -> int:
        self._seek(None)
        return len(self._loaded)


class Plugins:
    """The plugins of this process. Not a singleton: a test makes its own."""

    def __init__(self) -> None:
        self.engines: Offered[AnyEngine] = Offered("engine", self._seek)
        self.backends: Offered[AnyBackend] = Offered("backend", self._seek)
        self.sources: Offered[ModelSource] = Offered("source", self._seek)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: list[tuple[EntryPoint, PluginInfo]] = []
        self._pending: list[EntryPoint] = []
        """In the order of loading."""
        self._off: Collection[str] = ()
        self._heard: Listener = _unheard

    @classmethod
    def discover(
        cls, points: Iterable[EntryPoint] | None = None, disabled: str | None = None, heard: Listener | None = None
    ) -> Plugins:
        """Find every plugin; each is imported once something is asked for that it may offer.

        A plugin's fault is never raised, here or later.

        Args:
            points: the entry points; by default those of the installed distributions.
            disabled: names separated by commas, or `*` for all but core's own; by default
                `$RAYLLM_PLUGINS_DISABLED`.
            heard: told of each plugin that is set aside, when that happens.
        """
        found = entry_points(group=GROUP) if points is None else points
        switch = os.environ.get(KILL_SWITCH, "") if disabled is None else disabled
        plugins = cls()
        plugins._off = {name.strip() for name in switch.split(",")}
        plugins._heard = heard or _unheard
        plugins._pending = sorted(found, key=_order)
        plugins._load_some([point for point in plugins._pending if point.value == CORE])
        return plugins

    @property
    def infos(self) -> list[PluginInfo]:
        """What became of every entry point, in the order of their names, core's own first. Imports all of them."""
        self._seek(None)
        return [info for _, info in sorted(self._loaded, key=lambda pair: _order(pair[0]))]

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

    def _seek(self, name: str | None) -> None:
        """Load the plugins whose entry point has this name; for None all."""
        self._load_some([point for point in self._pending if name is None or point.name == name])

    def _load_some(self, points: Iterable[EntryPoint]) -> None:
        for point in points:
            self._pending.remove(point)
            self._add(point)

    def _add(self, point: EntryPoint) -> None:
        """Load one plugin and read what it offers, or leave no trace of it but its info."""
        info = PluginInfo(name=point.name, module=point.value.partition(":")[0])
        if point.dist and (told := point.dist.metadata):  # each look at it reads the file again
            info.distribution, info.version = told["Name"], told["Version"]
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
            info.state = "broken"
            info.cause = error.message if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            info.cure = _cure(info, error)
            self._heard(info)

    def _is_off(self, point: EntryPoint) -> bool:
        return point.name in self._off or ("*" in self._off and point.value != CORE)

    def _load(self, point: EntryPoint, info: PluginInfo) -> None:
        _require_our_version(point)
        others = self._manager.get_plugins()
        # A plugin that prints when imported must not spoil what a command prints for programs.
        with stdout_to_stderr():
            started = time.perf_counter()
            try:
                plugin = point.load()
            finally:
                info.import_ms = round((time.perf_counter() - started) * 1000, 1)
            try:
                self._manager.register(plugin, info.name)
                self._manager.check_pending()
                require_hooks(self._manager, plugin)
                offers = collect(self._manager, others)
                self._refuse_taken(offers, point)
            except BaseException:
                # pluggy before 1.7 keeps a plugin whose registration failed.
                if plugin not in others and self._manager.is_registered(plugin):
                    self._manager.unregister(plugin)
                raise
        self.engines.update(offers.engines)
        self.backends.update(offers.backends)
        self.sources.update(offers.sources)
        info.offers = tuple(offers.names())

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


def _unheard(info: PluginInfo) -> None:
    """Nobody wants to know."""


def _quoted(offer: str) -> str:
    """`engine "vllm"`."""
    kind, _, name = offer.partition(" ")
    return f'{kind} "{name}"'


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    return (point.value != CORE, point.name, point.value)


def _require_our_version(point: EntryPoint) -> None:
    """Refuse a plugin whose range of rayllm-core this one is out of: pip only warns of that, and installs it."""
    from importlib.metadata import PackageNotFoundError, version

    wanted = [line for line in (point.dist.requires or []) if "rayllm" in line] if point.dist else []
    if not wanted:
        return
    from packaging.requirements import Requirement

    try:
        ours = version("rayllm-core")
    except PackageNotFoundError:  # the code bundle on a node has no metadata
        return
    for line in map(Requirement, wanted):
        if line.name.replace("_", "-").lower() == "rayllm-core" and not line.specifier.contains(ours, prereleases=True):
            raise PluginError(f"it is built for rayllm-core {line.specifier}, and this is {ours}")


def _cure(info: PluginInfo, error: BaseException) -> str:
    fix = f"upgrade or uninstall {info.distribution}" if info.distribution else "fix it"
    if not isinstance(error, PluginError):
        fix = f'see where: python -c "import {info.module}"; {fix}'
    return f"{fix}; or leave it out: {KILL_SWITCH}={info.name}"
