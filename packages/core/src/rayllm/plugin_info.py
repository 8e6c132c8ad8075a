"""What became of one plugin, and the words in which that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Literal

from rayllm.errors import RayllmError

KILL_SWITCH = "RAYLLM_PLUGINS_DISABLED"
CORE = "rayllm.builtin"
"""Module of core's own plugin, which comes first, so that nobody can take its names."""
SLOW_MS = 500.0
"""Milliseconds above which it is told that a plugin takes long; it should take a few."""


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
    """`engine vllm`, `backend local`, `source file`, …; `events` where it is told of events."""
    capabilities: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """Of each engine that it offers, by the kind of device that it runs on: what the engine can do there."""
    cause: str | None = None
    """Why it is broken; an exception's own words."""
    cure: str | None = None
    """What to do about it."""
    import_ms: float | None = None
    """Milliseconds that its import and its hooks took; None where it was not tried."""
    prints: bool = False
    """Whether it prints something when it is loaded; that goes to stderr."""

    @classmethod
    def of(cls, point: EntryPoint) -> PluginInfo:
        """What is known of a plugin before it is imported; its distribution's metadata may be damaged."""
        info = cls(name=point.name, module=point.value.partition(":")[0])
        try:
            told = point.dist.metadata if point.dist else None  # each look at it reads the file again
            if told:
                info.distribution, info.version = told["Name"], told["Version"]
        except Exception:  # noqa: BLE001, S110 - what it is called is all that is lost
            pass
        return info

    @property
    def title(self) -> str:
        """`engine-x (rayllm-engine-x 0.3.1)`."""
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name

    @property
    def is_slow(self) -> bool:
        """True if a person should be told what it costs every command that needs it."""
        return self.state == "loaded" and (self.import_ms or 0) > SLOW_MS

    @property
    def oddities(self) -> list[str]:
        """What is told of it though it is used: `takes 2.3 s to load, …`, `prints when it is loaded`."""
        slow = f"takes {(self.import_ms or 0) / 1000:.1f} s to load, where a few milliseconds are usual"
        told = {slow: self.is_slow, "prints when it is loaded": self.prints and self.state == "loaded"}
        return [words for words, is_so in told.items() if is_so]

    @property
    def examined_by(self) -> str:
        """The command that tells more."""
        return f"rayllm plugins doctor {self.name}"

    def break_with(self, error: BaseException) -> None:
        """Note that it is set aside, why, and what to do."""
        own = error.cure if isinstance(error, RayllmError) else None
        self.state, self.cause, self.cure = "broken", cause_of(error), self.way_out(own)

    def way_out(self, fix: str | None = None) -> str:
        """What a person who did not write it can do; `fix` is what the fault itself says."""
        known = f"upgrade or uninstall {self.distribution}" if self.distribution else "fix it"
        return f"{fix or known}; or leave it out: {KILL_SWITCH}={self.name}"


def cause_of(error: BaseException) -> str:
    """An exception's own words; our own errors have no type that a person knows."""
    return error.message if isinstance(error, RayllmError) else f"{type(error).__name__}: {error}".removesuffix(": ")


def left_out(info: PluginInfo) -> str:
    """One line on a plugin that is set aside."""
    cause = (info.cause or "").partition("\n")[0]
    return f"plugin {info.title} is left out: {cause}   → {info.cure}; more: {info.examined_by}"


def odd(info: PluginInfo, oddity: str) -> str:
    """One line on a plugin that is used, and has an oddity."""
    return f"plugin {info.title} {oddity}   → {info.examined_by} tells more"


def waiting(info: PluginInfo) -> str:
    """One line on a plugin that is not loaded yet."""
    return f"still loading plugin {info.title}   → Ctrl-C ends this; {KILL_SWITCH}={info.name} leaves it out"


def deaf(info: PluginInfo, cause: str) -> str:
    """One line on a plugin that could not be told of an event."""
    return f"plugin {info.title} is told of no more events: {cause}   → {info.way_out()}"
