"""Waiting for a deployment: what is told on the way, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from tests.unit.core.operator.conftest import Shown

from rayllm.cluster.connection import UnreachableError
from rayllm.deployment import watch
from rayllm.deployment.status import ModelStatus, Status
from rayllm.deployment.watch import ModelsFailedError, Watch
from rayllm.errors import ClusterError, DeploymentError

FAILURE = {"message": "out of memory", "cause": "", "cure": "", "at": 5.0, "count": 1, "node": "n", "log": "l"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls without a pause."""
    monkeypatch.setattr(watch, "POLL_S", 0)


def looks(**states: str | ModelStatus | None) -> Status:
    """A deployment whose parts are in these states; None: Serve does not list it."""

    def part(name: str, state: str | ModelStatus) -> ModelStatus:
        if isinstance(state, ModelStatus):
            return state
        return ModelStatus(name, state, "toy", running=int(state == "ready"), wanted=1)

    parts = {name: part(name, state) for name, state in {"gateway": "ready", **states}.items() if state}
    gateway = parts.pop("gateway", None)
    return Status("demo", "http://g", "http://d", gateway, parts, [])


def failed(state: str = "failed", name: str = "m") -> ModelStatus:
    """A model with a failure."""
    return ModelStatus(name, state, "toy", 0, 1, failure=FAILURE)


def run(
    shown: Shown, seen: Iterable[Status | Exception], *, names: str = "m", known: dict[str, float] | None = None
) -> Status:
    """Watch what is seen; every look takes a second."""
    rest = iter(seen)
    now = 0.0

    def observe() -> Status:
        nonlocal now
        now += 1
        found = next(rest)
        if isinstance(found, Exception):
            raise found
        return found

    return Watch(set(names.split()), shown, known or {}, lambda: now).run(observe, lambda: None)


def test_until_all_are_ready(shown: Shown) -> None:
    """Each is told once it is; the status is the last one."""
    last = looks(m="ready", n="ready")
    ready = ModelStatus("n", "ready", "toy", 0, 0)
    seen = [looks(m="starting", n="waiting", gateway="starting"), looks(m="starting", n=ready), last]
    assert run(shown, seen, names="m n") is last
    assert shown.lines == [
        "· gateway: starting a replica",
        "· m: starting a replica",
        "· n: waiting for a node with room, or a busy one",
        "✔ gateway: http://g",
        "· m: starting a replica",
        "✔ n: ready, no replica yet",
        "✔ m: ready, answered a first prompt",
    ]


def test_what_keeps_a_model_waiting(shown: Shown) -> None:
    """The numbers, and that nobody has to go on waiting."""
    lacks = "one replica needs 4 CPU cores; no node has that free, the best has 2 CPU cores"
    waits = ModelStatus("m", "waiting", "toy", 0, 1, cause=lacks, cure="ask for less under resources:")
    run(shown, [looks(m=waits), looks(m="ready")])
    assert shown.lines[1] == (
        f"· m: waiting for a node with room, or a busy one: {lacks}; ask for less under resources:, or Ctrl-C"
    )


def test_the_lease_is_kept_while_it_waits(shown: Shown) -> None:
    """And who lost it stops."""
    kept: list[int] = []

    def keep() -> None:
        kept.append(1)
        if len(kept) == 3:
            raise ClusterError("somebody else has it")

    with pytest.raises(ClusterError, match="somebody else has it"):
        Watch({"m"}, shown, {}).run(lambda: looks(m="starting"), keep)


def test_one_failure_does_not_hide_the_others(shown: Shown) -> None:
    """All are waited for, all are told, with the count."""
    seen = [looks(m=failed(), n="starting", o="starting"), looks(m=failed(), n=failed(name="n"), o="ready")]
    with pytest.raises(ModelsFailedError) as caught:
        run(shown, seen, names="m n o")
    assert str(caught.value) == "✘ m  out of memory\n✘ n  out of memory\n2 of 3 models did not come up"
    assert "· m: failed · out of memory" in shown.lines
    assert "✔ o: ready, answered a first prompt" in shown.lines


def test_a_failed_gateway_ends_it(shown: Shown) -> None:
    """Without it nothing can be reached."""
    gateway = ModelStatus("gateway", "failed", "", 0, 1, message="rayllm.errors.ClusterError: port 8000 is taken")
    with pytest.raises(DeploymentError) as caught:
        run(shown, [looks(m="starting", gateway=gateway)])
    assert str(caught.value) == "gateway did not come up\n  cause  port 8000 is taken"


def test_an_engine_that_is_replaced_is_waited_for(shown: Shown) -> None:
    """Serve goes on trying as long as one replica serves."""
    run(shown, [looks(m=failed("restarting")), looks(m="ready")])
    assert "· m: restarting: out of memory" in shown.lines


def test_what_failed_before_says_nothing_about_now(shown: Shown) -> None:
    """A failure that was known when the watch began is not this attempt's."""
    run(shown, [looks(m=failed("starting")), looks(m="ready")], known={"m": 5.0})
    assert "· m: starting a replica" in shown.lines
    unknown = ModelStatus("m", "failed", "toy", 0, 1, failure=FAILURE, message="could not import")
    with pytest.raises(ModelsFailedError) as caught:
        run(shown, [looks(m=unknown)], known={"m": 5.0})
    assert caught.value.failures["m"].cause == "could not import"
    with pytest.raises(ModelsFailedError, match="out of memory"):
        run(shown, [looks(m=unknown)], known={"m": 4.0})


@pytest.mark.parametrize(
    ("states", "missing"), [({"m": None}, "m"), ({"m": "ready", "gateway": None}, "gateway"), ({}, "m")]
)
def test_what_somebody_else_removed(shown: Shown, states: dict[str, Any], missing: str) -> None:
    """Told after a while: Serve may list it late."""
    with pytest.raises(ClusterError) as caught:
        run(shown, repeat(looks(**states), 17))
    assert str(caught.value) == (
        f"{missing} of demo is gone: somebody else changed the cluster\n  do     agree who goes first, then: rayllm up"
        "\n  more   rayllm explain another-operator"
    )


def test_what_serve_lists_late(shown: Shown) -> None:
    """The count begins anew when it is seen."""
    late = [*repeat(looks(m=None), 14), looks(m="starting"), *repeat(looks(m=None), 14)]
    run(shown, [*late, looks(m="ready")])


def test_another_model_of_the_deployment_is_none_of_ours(shown: Shown) -> None:
    """Somebody's application that only looks like one."""
    run(shown, [looks(m="ready", other=failed(name="other"))])


def away(times: int, then: Callable[[], Iterator[Status]]) -> Iterator[Status | Exception]:
    """Nobody answers so often."""
    return chain(repeat(UnreachableError("Ray's dashboard does not answer"), times), then())


def test_a_dashboard_that_restarts(shown: Shown) -> None:
    """It is asked again, and a person knows why nothing moves."""
    run(shown, away(20, lambda: iter([looks(m="ready")])))
    assert shown.lines[:2] == ["· cluster: does not answer; asking again", "✔ cluster: answers again"]


def test_a_dashboard_that_is_gone(shown: Shown) -> None:
    """Within a bound; an interruption before does not count."""
    seen = chain(away(20, lambda: iter([looks(m="starting")])), away(32, lambda: iter([looks(m="ready")])))
    with pytest.raises(UnreachableError):
        run(shown, seen)
    assert shown.lines.count("· cluster: does not answer; asking again") == 2
