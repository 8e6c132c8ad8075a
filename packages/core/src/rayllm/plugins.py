"""Find the installed plugins, and keep each one's faults to itself.

A plugin that fails to import, raises in a hook, offers a wrong type or a taken name is set aside with its cause and
cure in `Plugins.infos`; everything else goes on. Nothing is printed here: the command line does that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

import pluggy

from rayllm import hookspecs
from rayllm.backends import AnyBackend
from rayllm.engines import AnyEngine
from rayllm.errors import PluginError
from rayllm.offers import HOOKS, Offers, collect, require_hooks
from rayllm.sources import ModelSource

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


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


@dataclass(slots=True)
class Plugins:
    """The plugins of this process. Not a singleton: a test makes its own."""

    engines: dict[str, AnyEngine] = field(default_factory=dict)
    backends: dict[str, AnyBackend] = field(default_factory=dict)
    sources: dict[str, ModelSource] = field(default_factory=dict)
    infos: list[PluginInfo] = field(default_factory=list)
    """Every entry point found, in the order of loading."""
    _manager: pluggy.PluginManager = field(default_factory=_manager, repr=False)

    @classmethod
    def discover(cls, points: Iterable[EntryPoint] | None = None, disabled: str | None = None) -> Plugins:
        """Load every plugin that can be loaded; never raises for a plugin's fault.

        Args:
            points: the entry points; by default those of the installed distributions.
            disabled: names separated by commas, or `*` for all but core's own; by default
                `$RAYLLM_PLUGINS_DISABLED`.
        """
        found = entry_points(group=GROUP) if points is None else points
        switch = os.environ.get(KILL_SWITCH, "") if disabled is None else disabled
        off = {name.strip() for name in switch.split(",")}
        plugins = cls()
        for point in sorted(found, key=_order):
            plugins.add(point, disabled=point.name in off or ("*" in off and point.value != CORE))
        return plugins

    def add(self, point: EntryPoint, *, disabled: bool = False) -> PluginInfo:
        """Load one plugin and read what it offers, or leave no trace of it but its info."""
        info = PluginInfo(name=point.name, module=point.value.partition(":")[0])
        if point.dist:
            info.distribution, info.version = point.dist.name, point.dist.version
        earlier = next((i for i in self.infos if i.name == info.name and i.state != "disabled"), None)
        self.infos.append(info)
        if disabled:
            info.state = "disabled"
            return info
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
        return info

    def origin_of(self, kind: str, name: str) -> PluginInfo:
        """The plugin that offers `name`; `kind` is `engine`, `backend` or `source`.

        Raises:
            KeyError: nobody offers it.
        """
        for info in self.infos:
            if f"{kind} {name}" in info.offers:
                return info
        raise KeyError(f"{kind} {name}")

    @property
    def broken(self) -> list[PluginInfo]:
        """Those that were set aside."""
        return [info for info in self.infos if info.state == "broken"]

    def _load(self, point: EntryPoint, info: PluginInfo) -> None:
        _require_our_version(point)
        started = time.perf_counter()
        try:
            plugin = point.load()
        finally:
            info.import_ms = round((time.perf_counter() - started) * 1000, 1)
        others = self._manager.get_plugins()
        try:
            self._manager.register(plugin, info.name)
            self._manager.check_pending()
            require_hooks(self._manager, plugin)
            offers = collect(self._manager, others)
            self._refuse_taken(offers)
        except BaseException:
            # pluggy before 1.7 keeps a plugin whose registration failed.
            if plugin not in others and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise
        self.engines |= offers.engines
        self.backends |= offers.backends
        self.sources |= offers.sources
        info.offers = tuple(offers.names())

    def _refuse_taken(self, offers: Offers) -> None:
        ours = Offers(self.engines, self.backends, self.sources)
        for kind in HOOKS.values():
            for name in kind.of(offers):
                if name in kind.of(ours):
                    raise PluginError(f'{kind.word} "{name}" is taken by {self.origin_of(kind.word, name).title}')


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
