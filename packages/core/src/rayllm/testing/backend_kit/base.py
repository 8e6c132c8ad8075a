"""What the rules of a backend share: the class's settings, its bench, and how a rule that is not kept is told."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rayllm.backends import Cluster
from rayllm.testing.backend_kit.bench import Bench, Standing
from rayllm.testing.backend_kit.platform import Platform
from rayllm.testing.backend_kit.runs import How, Outcome, Runner, Stop
from rayllm.testing.option_rules import OptionRules
from rayllm.testing.outside.look import look
from rayllm.testing.plugin_rules import installed


@cache
def seen(point: str, *, elsewhere: bool) -> dict[str, Any]:
    """The plugin from outside, once for each backend."""
    told, printed = look("rayllm.testing.backend_kit.probe", {"point": point}, elsewhere=elsewhere)
    return {**told, "printed": printed}


class BackendBase(OptionRules):
    """A backend on its platform: what the fixture `platform` of the plugin's own tests returns."""

    backend: ClassVar[str]
    """What a person writes after `backend:`; the plugin has to be installed."""
    platform_calls: ClassVar[Sequence[str]] = ("httpx.Client.send",)
    """All functions through which the backend reaches its platform, by the name under which it looks them up, as
    `unittest.mock.patch` wants them: a run is killed before and behind each call of them."""
    slow_start: ClassVar[bool] = False
    """True where a cluster takes seconds to come up: then one cluster meets all kills, one after another, instead of
    each kill a cluster of its own."""
    bound_s: ClassVar[float] = 60.0
    """Seconds that any method of the backend may take."""
    _opened: ClassVar[Bench]
    _kind = "backend"

    @pytest.fixture(autouse=True)
    def _open_bench(self, request: pytest.FixtureRequest, platform: Platform) -> None:
        """Once for the class; what its rules made is gone when its last rule is through."""
        owner = request.node.getparent(pytest.Class)
        backend = installed().backends.get(self.backend)
        if backend is None or "_opened" in vars(owner.obj):
            return
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rl-")))
            runner = Runner(self.backend, self.platform_calls, self.bound_s, folder)
            owner.obj._opened = bench = Bench(backend, platform, stack.enter_context(runner))  # noqa: SLF001
            stack.callback(bench.close)
            stack.callback(delattr, owner.obj, "_opened")
            owner.addfinalizer(stack.pop_all().close)

    def _name(self) -> str:
        return self.backend

    def _seen(self, *, elsewhere: bool = False) -> dict[str, Any]:
        info = self._info()
        return seen(info.name if info else "", elsewhere=elsewhere)

    def _valid(self) -> Mapping[str, Any]:
        block = self._bench.platform.options
        self._readable(block, "what `options` of its platform tells,")
        return block

    @property
    def _bench(self) -> Bench:
        """It on its platform."""
        self._offered()
        return self._opened

    @property
    def _standing(self) -> Standing:
        """A cluster that several rules look at, and none changes."""
        self._ready(self._bench.standing.outcome, "ensure")
        return self._bench.standing

    def _stops(self, how: How, step: int = 1) -> Iterator[Stop]:
        """A stop at each point of `ensure`, or at every `step`th."""
        seen = "ensure called none of platform_calls, so that it can be killed nowhere"
        self._require(self._standing.outcome.points, seen, "name the functions through which it reaches its platform")
        yield from self._bench.stops(how, step)

    def _require(self, kept: object, seen: str, do: str) -> None:
        """Fail with what was seen and what to do, unless the rule is kept."""
        if not kept:
            self._broken(seen, do)

    def _require_made(self, name: str, wanted: list[str], when: str, do: str) -> None:
        """Fail unless the platform has these things of a cluster."""
        made = self._bench.made(name)
        self._require(made == wanted, f"{when} the platform has {made or 'nothing'}, not {wanted or 'nothing'}", do)

    def _well(self, outcome: Outcome, what: str, do: str) -> None:
        """Fail with its own words if a method raised something."""
        well = outcome.ended and not (outcome.error or outcome.crash or outcome.interrupted)
        self._require(well, f"{what} failed\n{outcome.words}\n{outcome.output}", do)

    def _ready(self, outcome: Outcome, what: str) -> Cluster:
        """Fail unless this `ensure` returned a cluster that is ready; else the cluster."""
        self._well(outcome, what, "ensure takes what is there already, whole or half made, and makes what is missing")
        cluster = outcome.cluster
        if cluster is None:
            self._broken(f"{what} returned {outcome.returned}", "return a rayllm.Cluster")
        if cluster.state != "ready":
            reason = f": {cluster.reason}" if cluster.reason else ""
            do = "ensure waits until Ray answers, and raises ClusterError if it does not"
            self._broken(f"{what} returned a cluster that is {cluster.state}{reason}", do)
        return cluster

    def _up(self) -> str:
        """The name of a new cluster."""
        name = self._bench.name()
        self._ready(self._bench.run("ensure", name), "ensure")
        return name

    def _finds(self, name: str, when: str) -> None:
        """Whatever was half done, `find` answers: `status` and `down` begin with it."""
        found = self._bench.run("find", name, machine=self._bench.elsewhere)
        self._well(found, f"after {when}, find", "tell what is there: None, or a Cluster with state and reason")

    def _goes_on(self, name: str, when: str) -> None:
        """The next `ensure` makes what an undisturbed one makes, whoever runs it."""
        outcome = self._bench.run("ensure", name, machine=self._bench.elsewhere)
        self._ready(outcome, f"after {when}, the next ensure")
        self._require_made(
            name,
            self._standing.things,
            f"after {when} and run again",
            "name what you make after the cluster, so that the next call finds it",
        )
