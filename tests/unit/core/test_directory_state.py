"""Who serves what: leases that run out, versions that gateways confirm, failures that are remembered."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any, cast

import pytest

from rayllm.serving.directory.state import LEASE_S, YOUNG_S, DirectoryState, ReplicaReport


class Clock:
    """A clock that goes on when it is told."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At a thousand."""
    return Clock()


@pytest.fixture
def state(clock: Clock) -> DirectoryState:
    """Empty."""
    return DirectoryState(clock)


def report(phase: str = "ready", replica: str = "r1", **more: Any) -> ReplicaReport:
    """A replica of model `m` of deployment `demo`."""
    known: dict[str, Any] = {
        "deployment": "demo", "model": "m", "replica": replica, "node": "n1", "network": "net", "phase": phase,
        "detail": "", "since": 0.0, "host": "127.0.0.1", "port": 1, "engine": "toy", "log": "l", **more,
    }  # fmt: skip
    return cast("ReplicaReport", known)


def replicas(state: DirectoryState, deployment: str = "demo") -> list[str]:
    """Names of the replicas known."""
    return [entry["replica"] for entry in state.snapshot(deployment)["replicas"]]


def test_the_version_grows_when_routing_changes(state: DirectoryState) -> None:
    """And only then: gateways write their configuration anew for each."""
    versions = [state.version]
    for change in (
        lambda: state.report(report("starting")),
        lambda: state.report(report("ready")),
        lambda: state.report(report("ready", detail="busy")),
        lambda: state.report(report("ready", port=2)),
        lambda: state.report(report("leaving", port=2)),
        lambda: state.leave("r1"),
    ):
        change()
        versions.append(state.version)
    assert [after - before for before, after in pairwise(versions)] == [0, 1, 0, 1, 1, 0]


def test_who_leaves_is_forgotten(state: DirectoryState, clock: Clock) -> None:
    """Also where an earlier report arrives later: Ray keeps no order among calls."""
    state.report(report())
    before = state.version
    assert state.leave("r1") == before + 1
    state.report(report())
    assert replicas(state) == []
    assert state.version == before + 1
    assert state.leave("r1") == before + 1
    clock.now += LEASE_S + 1
    state.expire()
    assert not state._left


def test_who_is_silent_is_forgotten(state: DirectoryState, clock: Clock) -> None:
    """A renewal in time keeps a place; a late one takes it again."""
    state.report(report(replica="r1"))
    state.report(report(replica="r2"))
    clock.now += LEASE_S - 1
    state.report(report(replica="r2"))
    assert not state.expire()
    clock.now += 2
    assert state.expire()
    assert replicas(state) == ["r2"]
    assert not state.expire()
    state.report(report(replica="r1"))
    assert sorted(replicas(state)) == ["r1", "r2"]


def test_a_silent_replica_that_did_not_serve_changes_no_routes(state: DirectoryState, clock: Clock) -> None:
    """No gateway needs to know."""
    state.report(report("starting"))
    clock.now += LEASE_S + 1
    assert not state.expire()
    assert replicas(state) == []


def test_gateways_confirm(state: DirectoryState, clock: Clock) -> None:
    """All of a deployment that are alive; those of others do not count."""
    version = state.leave("r1")
    assert state.confirmed("demo", version)
    state.confirm("g1", "demo", version - 1)
    state.confirm("g2", "demo", version)
    state.confirm("g1", "other", version - 1)
    assert not state.confirmed("demo", version)
    state.confirm("g1", "demo", version)
    assert state.confirmed("demo", version)
    state.confirm("g3", "demo", version - 1)
    clock.now += LEASE_S + 1
    state.expire()
    assert state.confirmed("demo", version)


def test_a_restarted_directory_takes_no_old_confirmation(
    state: DirectoryState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its versions are higher than those before it, however often routing changed there."""
    for port in range(100):
        state.report(report(port=port))
    later = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    after = DirectoryState(clock)
    assert after.epoch != state.epoch
    assert after.version > state.version
    after.confirm("g1", "demo", state.version)
    assert not after.confirmed("demo", after.leave("r1"))


def test_it_is_young_until_all_had_time_to_renew(state: DirectoryState, clock: Clock) -> None:
    """Nobody is taken out on the word of a young one."""
    assert state.snapshot("demo")["young"]
    clock.now += YOUNG_S
    assert not state.snapshot("demo")["young"]


def test_deployments_do_not_see_each_other(state: DirectoryState) -> None:
    """Also where one's name begins as the other's."""
    state.report(report(replica="r1"))
    state.report(report(replica="r2", deployment="demo-b"))
    state.fail(report(replica="r3", deployment="demo-b"), "failed", "", "", "")
    assert (replicas(state), replicas(state, "demo-b")) == (["r1"], ["r2"])
    assert state.snapshot("demo")["failures"] == {}
    assert state.snapshot("demo-b")["failures"].keys() == {"m"}


@pytest.mark.parametrize(("phase", "log"), [("environment", ""), ("weights", ""), ("starting", "l"), ("ready", "l")])
def test_a_failure_before_the_engine_started_has_no_log(state: DirectoryState, phase: str, log: str) -> None:
    """Who is sent to a file that is not there learns nothing."""
    state.fail(report(phase), "no weights", "", "", "")
    assert state.snapshot("demo")["failures"]["m"]["log"] == log


def test_failures_are_counted_until_the_model_is_ready(state: DirectoryState) -> None:
    """Then they are past, and told for a while."""
    for cause in ("first", "second"):
        state.fail(report("starting", log=f"{cause}.log"), "the engine stopped", cause, "cure", "engine-start")
    failure = state.snapshot("demo")["failures"]["m"]
    assert (failure["message"], failure["cause"], failure["cure"]) == ("the engine stopped", "second", "cure")
    assert failure["topic"] == "engine-start"
    assert (failure["count"], failure["log"], failure["node"]) == (2, "second.log", "n1")
    state.report(report("starting", replica="r2"))
    assert state.snapshot("demo")["failures"]
    state.report(report("ready", replica="r2"))
    found = state.snapshot("demo")
    assert (found["failures"], found["past"]["m"]["count"]) == ({}, 2)
    state.fail(report(), "the engine stopped", "third", "", "")
    state.report(report("ready", replica="r2"))
    found = state.snapshot("demo")
    assert (found["past"]["m"]["count"], found["past"]["m"]["cause"]) == (3, "third")


def test_the_right_to_change_a_deployment(state: DirectoryState, clock: Clock) -> None:
    """One holder at a time, for as long as they renew; another deployment's is another right."""
    assert state.acquire("demo", "me", 30) == "me"
    assert state.acquire("demo", "you", 30) == "me"
    assert state.acquire("demo-b", "you", 30) == "you"
    clock.now += 29
    assert state.acquire("demo", "me", 30) == "me"
    clock.now += 29
    assert state.acquire("demo", "you", 30) == "me"
    clock.now += 2
    assert state.acquire("demo", "you", 30) == "you"
    state.release("demo", "me")
    assert state.acquire("demo", "me", 30) == "you"
    state.release("demo", "you")
    assert state.acquire("demo", "them", 30) == "them"


def test_a_renewal_that_comes_after_the_giving_back(state: DirectoryState, clock: Clock) -> None:
    """Ctrl-C cut its request off, and Ray keeps no order among an actor's calls: it counts for nothing."""
    assert state.acquire("demo", "me", 30) == "me"
    state.release("demo", "me")
    assert state.acquire("demo", "me", 30) == ""
    assert state.acquire("demo", "you", 30) == "you"
    clock.now += 61
    assert state.acquire("demo", "me", 30) == "me", "forgotten, or the list would grow forever"


def test_the_right_is_taken_from_the_dead(state: DirectoryState) -> None:
    """From exactly the one that is known to be dead."""
    assert state.acquire("demo", "dead", 30) == "dead"
    assert state.acquire("demo", "me", 30, instead_of="another") == "dead"
    assert state.acquire("demo", "me", 30, instead_of="dead") == "me"
    assert state.acquire("demo", "you", 30, instead_of="dead") == "me"
