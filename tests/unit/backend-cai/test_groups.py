"""Which workers are missing, broken, too many, and how one goes: without a platform and without Ray."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from tests.cai_workers import group, wanted

from rayllm_backend_cai.api.records import Application
from rayllm_backend_cai.applications import precedence
from rayllm_backend_cai.node import groups, holds
from rayllm_backend_cai.node.groups import Delete, Drain, RayNode, Situation, Stop
from rayllm_backend_cai.shared import CLUSTER, GROUP, Hold, KeeperRecord, Leaving

NOW = 1_000_000.0


def worker(
    number: int, status: str = "running", of: str = "gpu", *, since: float = NOW - 1000, key: str = ""
) -> Application:
    """A worker's application."""
    moment = datetime.fromtimestamp(since, timezone.utc)
    return Application(
        id=key or f"id-{of}-{number}",
        name=f"llm-{of}-{number}",
        status=status,
        environment={CLUSTER: "llm", GROUP: of},
        created_at=moment,
        starting_at=moment,
        running_at=moment if status != "starting" else None,
    )


def situation(*workers: Application, least: int = 2, most: int | None = None, **told: Any) -> Situation:
    """Two of `gpu` are wanted, unless told otherwise."""
    told = {"record": KeeperRecord(), "taken": {one.name for one in workers}, "now": NOW, **told}
    return Situation(wanted=wanted(gpu=group(least, most)), workers=workers, **told)


def leaving(one: Application, until: float = NOW + 100, **told: Any) -> KeeperRecord:
    """A record in which a worker is to go."""
    return KeeperRecord(leaving={one.id: Leaving(name=one.name, reason="", since=NOW, until=until, **told)})


def nodes(**states: Any) -> dict[str, RayNode]:
    """Ray nodes of `gpu`, by the number of the worker: `n1="idle"`."""
    return {f"llm-gpu-{name[1:]}": RayNode(name, state) for name, state in states.items()}


@pytest.mark.parametrize(
    ("workers", "numbers"),
    [
        ([], [1, 2]),
        ([worker(1), worker(2, "starting")], []),
        ([worker(2)], [1]),
        # a name that is still taken is not free, whatever has become of it
        ([worker(1, "failed"), worker(2)], [3]),
        ([worker(1, "stopping"), worker(3)], [2]),
        # the state of one is not told: it may well run
        ([worker(1), worker(2, "unknown")], []),
    ],
)
def test_missing_ones_get_the_lowest_free_numbers(workers: list[Application], numbers: list[int]) -> None:
    """Those that are there, or come, count."""
    assert [one.number for one in groups.missing(situation(*workers))] == numbers


@pytest.mark.parametrize(("more", "numbers"), [(0, []), (1, [2]), (9, [2, 3, 4])])
def test_a_range_follows_what_waits_up_to_its_most(more: int, numbers: list[int]) -> None:
    """Of one that is there, at least none and at most four."""
    found = groups.missing(situation(worker(1), least=0, most=4, more={"gpu": more}))
    assert [one.number for one in found] == numbers


def test_a_range_has_its_least_without_any_demand() -> None:
    """At least two."""
    assert [one.number for one in groups.missing(situation(least=2, most=4))] == [1, 2]


@pytest.mark.parametrize("kind", ["refused", "failing"])
def test_nothing_is_made_while_a_group_is_held(kind: str) -> None:
    """Until its pause is over."""
    record = KeeperRecord(**{kind: {"gpu": Hold(reason="", since=NOW, again=NOW + 5)}})
    assert not list(groups.missing(situation(record=record)))
    assert list(groups.missing(situation(record=record, now=NOW + 5)))


def test_what_ended_is_told_with_how_long_it_ran() -> None:
    """Failed, stopped by somebody, or never started."""
    workers = [
        worker(1, "failed"),
        worker(2, "stopped"),
        worker(3, "starting"),
        worker(4, "starting", since=NOW - 100),
        worker(5),
    ]
    found = [(one.worker.name, one.text, one.lived_s) for one in groups.ended(situation(*workers))]
    assert found == [
        ("llm-gpu-1", "failed", 1000),
        ("llm-gpu-2", "was stopped", 1000),
        ("llm-gpu-3", "did not start within 15 min", 0),
    ]


@pytest.mark.parametrize(
    ("one", "other", "goes"),
    [
        (worker(1, "starting", since=NOW - 500, key="a"), worker(1, since=NOW - 400, key="b"), "b"),
        (worker(1, "stopping", since=NOW - 500, key="a"), worker(1, "starting", since=NOW - 400, key="b"), "a"),
        (worker(1, since=NOW - 500, key="a"), worker(1, since=NOW - 400, key="b"), "b"),
        (worker(1, "failed", key="a"), worker(1, "starting", since=NOW, key="b"), "a"),
    ],
)
def test_of_two_with_one_name_the_older_one_is_kept_that_is_not_over(
    one: Application, other: Application, goes: str
) -> None:
    """In whatever order they are listed, and whichever runs first; the operator's rule is the same."""
    for both in ([one, other], [other, one]):
        assert min(both, key=precedence).id != goes
        assert [ended.worker.id for ended in groups.ended(situation(*both, least=1))] == [goes]


@pytest.mark.parametrize(
    ("states", "goes"),
    [
        ({"n1": "idle", "n2": "idle", "n3": "idle"}, 3),
        ({"n1": "busy", "n2": "idle", "n3": "busy"}, 2),
        ({"n1": "busy", "n2": "busy", "n3": "busy"}, 3),
        # one that has not joined has no work
        ({"n2": "busy", "n3": "busy"}, 1),
    ],
)
def test_who_is_idle_goes_first_then_the_highest_number(states: dict[str, Any], goes: int) -> None:
    """One of three is too many."""
    found = list(groups.surplus(situation(worker(1), worker(2), worker(3), nodes=nodes(**states))))
    assert [one.name for one, _ in found] == [f"llm-gpu-{goes}"]
    assert found[0][1].until == NOW + groups.LEAVE_S


def test_nobody_goes_while_ray_does_not_tell_who_works() -> None:
    """It may be back in a moment."""
    assert not list(groups.surplus(situation(worker(1), worker(2), worker(3), nodes=None)))


def test_workers_of_a_group_that_is_not_wanted_go() -> None:
    """All of them."""
    found = list(groups.surplus(situation(worker(1, of="old"), worker(1), worker(2))))
    assert [(one.name, told.reason) for one, told in found] == [("llm-old-1", "no group old is wanted")]


def test_idle_workers_of_a_range_go_down_to_its_least() -> None:
    """And only those that are idle."""
    workers = [worker(1), worker(2), worker(3)]
    idle = {"llm-gpu-1", "llm-gpu-3"}
    now = nodes(n1="idle", n2="busy", n3="idle")
    some = list(groups.surplus(situation(*workers, least=2, most=4, nodes=now, idle=idle)))
    every = list(groups.surplus(situation(*workers, least=0, most=4, nodes=now, idle=idle)))
    assert [(one.name, told.idle) for one, told in some] == [("llm-gpu-3", True)]
    assert [one.name for one, _ in every] == ["llm-gpu-3", "llm-gpu-1"]


def test_a_worker_goes_step_by_step() -> None:
    """Its work first, then Ray's node, then the application; each step follows from what is seen."""

    def step(status: str = "running", state: Any = None, *, until: float = NOW + 100, told: bool = True) -> Any:
        one = worker(1, status)
        seen = (nodes(n1=state) if state else {}) if told else None
        found = list(groups.steps(situation(one, record=leaving(one, until), nodes=seen)))
        return type(found[0]) if found else None

    assert step(state="busy") is Drain
    assert step(state="draining") is None
    assert step(state=None) is Stop
    assert step("stopping") is None
    assert step("stopped") is Delete
    assert step("failed") is Delete
    assert step("starting") is Stop
    # its work is not waited for for ever, nor is Ray, nor is the platform
    assert step(state="draining", until=NOW) is Stop
    assert step(told=False) is None
    assert step(told=False, until=NOW) is Stop
    assert step("stopping", until=NOW - groups.STOPPING_S) is Delete


def test_pauses_grow_while_workers_end_soon_and_only_then() -> None:
    """The first is replaced at once."""
    hold, pauses = None, []
    for _ in range(12):
        hold = holds.after_end(hold, "out of memory", 3, NOW)
        pauses.append(hold.again - NOW)
    assert pauses[:4] == [0, 10, 20, 40]
    assert max(pauses) == pauses[-1] == holds.LONGEST_S
    assert holds.after_end(hold, "out of memory", holds.STEADY_S + 1, NOW).again == NOW


def test_pauses_grow_while_the_platform_refuses() -> None:
    """And it is told since when."""
    first = holds.after_refusal(None, "out of quota", NOW)
    second = holds.after_refusal(first, "out of quota", NOW + 10)
    assert (first.again, second.again, second.since) == (NOW + 10, NOW + 30, NOW)
    hold = second
    for _ in range(20):
        hold = holds.after_refusal(hold, "out of quota", NOW)
    assert hold.again == NOW + holds.LONGEST_REFUSED_S
