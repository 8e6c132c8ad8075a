"""A backend under test: its methods on machines of their own, what its platform has, and clusters to look at."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from rayllm.backends import AnyBackend, Cluster
from rayllm.testing.backend_kit.platform import Platform
from rayllm.testing.backend_kit.runs import How, Outcome, Run, Runner, Stop

SECRET = "KIT_SECRET"  # noqa: S105  its name
HERE, ELSEWHERE = "one", "two"
"""Machines that commands are run on."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A cluster that `ensure` made without being disturbed."""

    name: str
    outcome: Outcome
    things: list[str]
    """What the platform had then."""

    @property
    def cluster(self) -> Cluster:
        """It; `_standing` of the rules has looked whether there is one."""
        if self.outcome.cluster is None:
            raise AssertionError(self.outcome.words)
        return self.outcome.cluster


@dataclass(frozen=True, slots=True)
class Life:
    """A cluster whose platform was broken first: what became of each step."""

    broken: Outcome
    """Of `ensure`, while the platform was broken."""
    found: Outcome
    """Of `find`, while the platform was broken."""
    again: Outcome
    """Of `ensure`, when it was whole."""
    things: list[str]
    """What the platform had then."""
    destroyed: Outcome
    left: list[str]
    """What the platform had after that."""
    destroyed_again: Outcome
    found_after: Outcome


class Bench:
    """What the rules of one backend share."""

    def __init__(self, backend: AnyBackend, platform: Platform, runner: Runner) -> None:
        self.backend = backend
        self.platform = platform
        self.values = [secrets.token_urlsafe(16)]
        """Every value of the secret so far; `ensure` is given the last."""
        self._runner = runner
        self._mark = f"kit-{secrets.token_hex(2)}"
        self._ports: dict[str, int] = {}

    @property
    def creates(self) -> bool:
        """Whether it makes clusters; else it takes those that are there."""
        return "create" in self.backend.capabilities

    @property
    def elsewhere(self) -> str:
        """A machine that knows nothing of what was done before, where the backend is made for more than one."""
        return HERE if "this-machine" in self.backend.capabilities else ELSEWHERE

    def name(self) -> str:
        """The name of a cluster that nobody has made yet."""
        name = f"{self._mark}-{len(self._ports)}"
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._ports[name] = probe.getsockname()[1]
        return name

    def start(self, verb: str, name: str, stop: Stop | None = None, *, machine: str = HERE, other: bool = False) -> Run:
        """Start a method; with the platform's `other_options` if so wanted."""
        options = self.platform.other_options if other else self.platform.options
        told = {"verb": verb, "name": name, "port": self._ports[name], "options": dict(options or {})}
        return self._runner.start(machine, stop, {**told, "secrets": {SECRET: self.values[-1]}})

    def run(
        self, verb: str, name: str, stop: Stop | None = None, *, machine: str = HERE, other: bool = False
    ) -> Outcome:
        """Run a method to its end."""
        return self.start(verb, name, stop, machine=machine, other=other).outcome()

    def made(self, name: str) -> list[str]:
        """What the platform has of a cluster."""
        return sorted(self.platform.made(name))

    @functools.cached_property
    def standing(self) -> Standing:
        """A cluster that several rules look at, and none changes."""
        name = self.name()
        outcome = self.run("ensure", name)
        return Standing(name, outcome, self.made(name))

    @functools.cached_property
    def nothing(self) -> list[str]:
        """What the platform has of a cluster that was destroyed: nothing, if it was the backend that made it."""
        return [] if self.creates else self.standing.things

    @functools.cached_property
    def life(self) -> Life:
        """A cluster from a failed start to its end."""
        name = self.name()
        with self.platform.broken(name):
            broken, found = self.run("ensure", name), self.run("find", name)
        again, things = self.run("ensure", name), self.made(name)
        destroyed, left = self.run("destroy", name), self.made(name)
        after = self.run("destroy", name), self.run("find", name)
        return Life(broken, found, again, things, destroyed, left, *after)

    def stops(self, how: How, step: int = 1) -> Iterator[Stop]:
        """A stop at each point of `ensure`, or at every `step`th from the first on."""
        for at in range(1, self.standing.outcome.points + 1, step):
            yield Stop(at, how)

    def files(self) -> Iterator[Path]:
        """Every file on the machines that the methods were run on."""
        for machine in (HERE, ELSEWHERE):
            yield from (path for path in self._runner.home(machine).rglob("*") if path.is_file())

    def close(self) -> None:
        """Destroy every cluster that a rule left."""
        for name in self._ports:
            if self.made(name):
                self.run("destroy", name)
