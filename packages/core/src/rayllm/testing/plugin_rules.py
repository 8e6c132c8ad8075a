"""Rules for every plugin: it is found, and quick and quiet when it is imported."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from typing import Any, ClassVar

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rayllm import __version__
from rayllm.plugins import PluginInfo, Plugins
from rayllm.scaffold import core_range
from rayllm.testing.conformance import Conformance

IMPORT_MS = 100.0
"""Five times of what a plugin may take to be imported and asked."""
IDLE_MS = 500.0
"""Beside that it may read its files from a slow disk; whoever asks or sleeps takes longer, or will some day."""
_CORE = "rayllm-core"
_FROM = frozenset({">=", ">", "~=", "==", "==="})
_UP_TO = frozenset({"<", "<=", "~=", "==", "==="})
_SUMMARY = 80
"""Characters."""


@cache
def installed() -> Plugins:
    """The plugins of this Python, looked up once."""
    return Plugins.discover(disabled="")


class PluginRules(Conformance):
    """A plugin as it is found and imported; for a kind of descriptor."""

    _kind: ClassVar[str]
    """`engine`, `backend` or `source`."""

    def _name(self) -> str:
        """What the descriptor is called."""
        raise NotImplementedError

    def _seen(self, *, elsewhere: bool = False) -> dict[str, Any]:
        """What the kit's program for this kind saw, with `printed`."""
        raise NotImplementedError

    def _who(self) -> str:
        info = self._info()
        name = f"{self._kind} {self._name()}"
        return f"{name} ({info.distribution} {info.version})" if info else name

    def _info(self) -> PluginInfo | None:
        try:
            return installed().origin_of(self._kind, self._name())
        except KeyError:
            return None

    def _offered(self) -> Any:
        """The descriptor; a rule about one that is not there says nothing."""
        found = getattr(installed(), f"{self._kind}s").get(self._name())
        if found is None:
            pytest.skip(f"{self._kind} {self._name()} is not found, which is the first rule's failure")
        return found

    def _looked(self, *, elsewhere: bool = False) -> dict[str, Any]:
        """What was seen from outside, if the plugin came to an end there."""
        self._offered()
        try:
            return self._seen(elsewhere=elsewhere)
        except subprocess.TimeoutExpired as error:
            self._broken(f"it does not come to an end in {error.timeout:g} s", "see what it waits for")

    def test_it_is_found_by_its_entry_point(self) -> None:
        """Installed, discovery loads it."""
        if self._info():
            return
        broken = "; ".join(f"{info.title}: {info.cause}" for info in installed().broken) or "no plugin is broken"
        point = f'[project.entry-points.rayllm] {self._kind}-{self._name()} = "your_module"'
        self._broken(f"no installed plugin offers it; {broken}", f"install the plugin, with {point}")

    def test_it_names_a_range_of_core(self) -> None:
        """With a core that it is not made for, a plugin is set aside in words, instead of failing at some command."""
        self._offered()
        info = self._info()
        if info is None or info.distribution == _CORE:
            return
        wanted = f"{_CORE}{core_range(__version__)}"
        found = _needs_core(info.distribution or "")
        operators = {one.operator for need in found for one in need.specifier}
        if not (operators & _FROM and operators & _UP_TO):
            named = f"only names {', '.join(map(str, found))}" if found else f"does not name {_CORE}"
            self._broken(f"its distribution {named}", f'dependencies = ["{wanted}"]')

    def test_its_import_is_light(self) -> None:
        """Every command that reads a file imports it: its own modules, pydantic and the standard library."""
        seen = [self._looked(), self._looked(elsewhere=True)]
        if foreign := seen[0].get("foreign"):
            do = "import them inside of functions, or in a process of their own"
            self._broken(f"its import brings {', '.join(foreign)}", do)
        if (least := min(one.get("cpu_ms", 0.0) for one in seen)) > IMPORT_MS:
            do = "put what takes long into functions; 20 ms are enough for a plugin"
            self._broken(f"its discovery takes {least:.0f} ms of CPU time (at most {IMPORT_MS:g})", do)

        if (least := min(one.get("idle_ms", 0.0) for one in seen)) > IDLE_MS:
            do = "ask, wait and read in functions, which are called once somebody uses the plugin"
            self._broken(f"its discovery waits for {least:.0f} ms (at most {IDLE_MS:g})", do)

    def test_its_import_prints_nothing(self) -> None:
        """What programs read of a command has to stay clean."""
        if said := self._looked()["printed"].strip():
            self._broken(f"it prints {said[:200]!r}", "print nothing when it is imported or asked")

    def test_its_summary_is_one_line(self) -> None:
        """It stands in lists."""
        summary = self._offered().summary
        if not summary.strip() or "\n" in summary or len(summary) > _SUMMARY:
            self._broken(f"its summary is {summary!r}", f"say in one line of up to {_SUMMARY} characters what it is")


def _needs_core(distribution: str) -> list[Requirement]:
    """What a distribution requires of core, whatever its extras bring."""
    try:
        lines = requires(distribution) or []
    except (PackageNotFoundError, ValueError):  # it is installed as a bare entry point
        return []
    found = [one for one in map(Requirement, lines) if canonicalize_name(one.name) == _CORE]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
