"""The keeper against a stand-in workspace with real processes, and a Ray that tells what the test says."""

from __future__ import annotations

import json

import pytest
from tests.cai import UP, WAIT, Cai
from tests.cai_workers import CODE, Kept, group, keep
from tests.conftest import until

from rayllm_backend_cai import shared
from rayllm_backend_cai.node import groups, keeper
from rayllm_backend_cai.shared import KeeperRecord
from rayllm_backend_cai.testing import Fault
from rayllm_backend_cai.testing.settings import Limits

FAILS = "raise SystemExit(3)"


@pytest.fixture
def kept(cai: Cai) -> Kept:
    """Workers that come up."""
    return keep(cai, UP)


def test_a_group_is_made_once_and_kept(kept: Kept) -> None:
    """Each worker knows what it is; when all is well, the platform is asked every ten seconds."""
    kept.want(gpu=group(2))
    kept.tick(3)
    kept.settle("llm-gpu-1", "llm-gpu-2")
    kept.ray.join("llm-gpu-1")
    kept.ray.join("llm-gpu-2")
    kept.tick(2)
    assert kept.workers["llm-gpu-2"].environment[shared.GROUP] == "gpu"
    lists = kept.asked("GET")
    kept.tick(20, seconds=1)
    assert kept.asked("POST") == 2
    assert kept.asked("GET") - lists == 20 / keeper.CALM_S
    assert kept.told == ["llm-gpu-1 is made", "llm-gpu-2 is made"]


def test_a_list_that_lags_makes_nothing_twice(kept: Kept) -> None:
    """Nor does a new head that finds no list of it yet."""
    kept.cai.settings.list_lag_s = 3600
    kept.want(gpu=group(2))
    kept.tick(4)
    kept.restarted()
    kept.tick(4)
    assert not kept.workers
    assert kept.asked("POST") == 2


def test_a_worker_that_ends_is_explained_and_replaced(kept: Kept) -> None:
    """The replacement is made in the same look that sees the end."""
    kept.want(gpu=group(1))
    kept.tick()
    kept.settle("llm-gpu-1")
    kept.ray.join("llm-gpu-1")
    kept.tick(2)
    kept.reasons["llm-gpu-1"] = "out of memory: it took more than its 1 GB"
    kept.cai.fake.pod("llm-gpu-1").kill()
    kept.turn("llm-gpu-1", "failed")
    del kept.ray.nodes["llm-gpu-1"]  # which is the sign to look
    kept.tick()
    assert kept.asked("POST") == 2
    kept.tick_until("it is gone", lambda: "llm-gpu-1 is gone" in kept.told)
    kept.settle("llm-gpu-2")
    assert kept.told == [
        "llm-gpu-1 is made",
        "llm-gpu-1 goes: failed: out of memory: it took more than its 1 GB",
        "llm-gpu-2 is made",
        "llm-gpu-1 is gone",
    ]
    kept.tick(10)
    assert kept.keeper.notes.record.made == {"llm-gpu-2": kept.workers["llm-gpu-2"].id}


def test_one_that_vanished_is_replaced_under_its_name(kept: Kept) -> None:
    """It is free again."""
    kept.want(gpu=group(1))
    kept.tick()
    kept.settle("llm-gpu-1")
    kept.cai.client.applications.delete(kept.cai.project, kept.workers["llm-gpu-1"].id)
    until("it is gone", lambda: kept.cai.browse("llm-gpu-1").status_code == 404, 20)
    kept.tick(seconds=keeper.CALM_S)
    kept.settle("llm-gpu-1")
    assert kept.told[1:] == ["llm-gpu-1 vanished: it was deleted by somebody else", "llm-gpu-1 is made"]


def test_workers_that_end_at_once_are_replaced_ever_more_slowly(cai: Cai) -> None:
    """And it is told: in a minute there are four instead of thirty."""
    kept = keep(cai, FAILS)
    kept.want(gpu=group(1))
    for _ in range(30):
        kept.tick()
        for name, one in kept.workers.items():
            if one.status == "starting":
                kept.turn(name, "failed")
    assert kept.asked("POST", "/applications") == 4
    hold = kept.keeper.notes.record.failing["gpu"]
    assert hold.count == 4
    assert "gpu 3 in a row ended soon: a pause of 20 s" in kept.told


def test_one_that_does_not_start_is_stopped_deleted_and_made_anew(kept: Kept) -> None:
    """Never started again while it is starting."""
    kept.cai.settings.stuck = frozenset({"llm-gpu-1"})
    kept.want(gpu=group(1))
    kept.tick()
    kept.tick(10, seconds=60)
    assert kept.asked("POST") == 1
    kept.tick(6, seconds=60)
    kept.tick_until("it is gone", lambda: "llm-gpu-1 is gone" in kept.told)
    assert not kept.asked("POST", ":restart")
    assert kept.asked("POST", ":stop") == 1
    assert "llm-gpu-1 goes: did not start within 15 min" in kept.told
    kept.settle("llm-gpu-2")


def test_scaling_down_drains_then_stops_then_deletes(kept: Kept) -> None:
    """And a head that starts anew in the middle goes on."""
    kept.want(gpu=group(2))
    kept.tick()
    kept.settle("llm-gpu-1", "llm-gpu-2")
    kept.ray.join("llm-gpu-1", "busy")
    kept.ray.join("llm-gpu-2", "busy")
    kept.want(gpu=group(1))
    kept.tick()
    assert kept.ray.drained == [("llm-gpu-2", False)]
    until = kept.ray.until
    assert until == kept.cai.fake.clock.now() + groups.LEAVE_S
    kept.tick(5)
    kept.restarted()
    kept.ray.join("llm-gpu-2", "busy")  # a new head of Ray's does not know of it either
    kept.tick(2)
    assert kept.ray.drained == [("llm-gpu-2", False)] * 2
    assert kept.ray.until == until
    assert not kept.asked("POST", ":stop")
    del kept.ray.nodes["llm-gpu-2"]
    kept.tick()
    kept.turn("llm-gpu-2", "stopped")
    kept.tick_until("it is gone", lambda: "llm-gpu-2 is gone" in kept.told)
    kept.settle("llm-gpu-1")
    assert kept.told[-2:] == ["llm-gpu-2 goes: 1 of gpu are wanted", "llm-gpu-2 is gone"]


def test_a_deleted_one_that_lingers_is_waited_for(kept: Kept) -> None:
    """It is deleted once, and its name is not given again."""
    kept.cai.settings.deleting_s = 30
    kept.want(gpu=group(1))
    kept.tick()
    kept.settle("llm-gpu-1")
    kept.want(gpu=group(0))
    kept.tick()
    kept.turn("llm-gpu-1", "stopped")
    kept.tick(2)
    kept.want(gpu=group(1))
    kept.tick(2)
    assert kept.asked("DELETE") == 1
    assert set(kept.workers) == {"llm-gpu-1", "llm-gpu-2"}
    kept.tick(20)
    kept.settle("llm-gpu-2")


def test_a_range_goes_up_and_an_idle_worker_goes_away(kept: Kept) -> None:
    """Unless it was given work in the very moment."""
    kept.want(gpu=group(0, 2))
    kept.tick()
    assert not kept.asked("POST")
    kept.ray.more = {"gpu": 1}
    kept.tick()
    kept.ray.more = {}
    kept.tick()
    assert kept.ray.asked == {"gpu": ["llm-gpu-1"]}
    kept.settle("llm-gpu-1")
    kept.ray.join("llm-gpu-1")
    kept.ray.idle, kept.ray.takes = {"llm-gpu-1"}, False
    kept.tick()
    kept.ray.idle = set()
    kept.tick()
    assert kept.told[-1] == "llm-gpu-1 stays: it was given work"
    kept.ray.idle, kept.ray.takes = {"llm-gpu-1"}, True
    kept.tick()
    assert kept.ray.drained == [("llm-gpu-1", True)] * 2
    del kept.ray.nodes["llm-gpu-1"]
    kept.tick()
    kept.turn("llm-gpu-1", "stopped")
    kept.tick_until("it is gone", lambda: "llm-gpu-1 is gone" in kept.told)
    assert not kept.workers
    assert kept.asked("POST", ":stop") == 1


def test_a_refused_quota_is_told_and_tried_again_slowly(kept: Kept) -> None:
    """And forgotten when there is room."""
    kept.cai.settings.limits = Limits(cpu=1)
    kept.want(gpu=group(2))
    kept.tick(10)
    assert kept.asked("POST") == 3  # two at once, one more after ten seconds
    hold = kept.keeper.notes.record.refused["gpu"]
    assert "out of quota" in hold.reason
    assert hold.again - kept.cai.fake.clock.now() > keeper.CALM_S
    kept.cai.settings.limits = Limits()
    kept.tick(20)
    kept.settle("llm-gpu-1", "llm-gpu-2")
    assert not kept.keeper.notes.record.refused


def test_another_number_is_tried_at_once(kept: Kept) -> None:
    """Whoever asks for it may have made the room."""
    kept.cai.settings.limits = Limits(cpu=1)
    kept.want(gpu=group(2))
    kept.tick(40)
    kept.cai.settings.limits = Limits()
    kept.want(gpu=group(3))
    kept.tick(2)
    kept.settle("llm-gpu-1", "llm-gpu-2", "llm-gpu-3")


def test_a_key_that_is_refused_is_told_with_what_mends_it(kept: Kept) -> None:
    """The pod keeps its key: nothing else that a person does would bring workers back."""
    key = kept.cai.fake.key
    kept.want(gpu=group(1))
    kept.cai.fake.revoke(key)
    kept.tick(3)
    record = kept.keeper.notes.record
    assert record.stuck
    assert "until the application llm is restarted in the workspace" in record.trouble
    assert key not in record.trouble
    kept.cai.fake.add_key(key=key)
    kept.tick(40)
    kept.settle("llm-gpu-1")
    assert not kept.keeper.notes.record.trouble
    assert not kept.keeper.notes.record.stuck


def test_a_name_that_is_somebody_elses_is_passed_over(kept: Kept) -> None:
    """Subdomains are the whole workspace's."""
    other = kept.cai.fake.add_project("other", {"wait.py": WAIT})
    kept.cai.client.applications.create(other, kept.cai.new("llm-gpu-1", "wait.py"))
    kept.want(gpu=group(1))
    kept.tick(8)
    kept.settle("llm-gpu-2")


def test_a_duplicate_goes(kept: Kept) -> None:
    """As two heads make it, or an answer that got lost."""
    kept.cai.settings.taken_subdomain = "suffix"
    kept.want(gpu=group(1))
    kept.tick()
    kept.settle("llm-gpu-1")
    first = kept.workers["llm-gpu-1"].id
    body = kept.workers["llm-gpu-1"]
    kept.cai.fake.clock.advance(1)
    again = kept.cai.new("llm-gpu-1", str(shared.run_script(CODE)), environment=dict(body.environment))
    kept.cai.client.applications.create(kept.cai.project, again)
    kept.tick_until("one is left", lambda: len(kept.cai.client.applications.all(kept.cai.project)) == 1)
    assert kept.workers["llm-gpu-1"].id == first
    assert "llm-gpu-1 goes: another application has the same name" in kept.told


def test_a_platform_that_does_not_answer_is_told_and_left_in_peace(kept: Kept) -> None:
    """Then all goes on."""
    kept.want(gpu=group(1))
    kept.cai.fake.faults.add(Fault(path="/applications", status=503, times=None))
    kept.tick(20)
    assert "503" in kept.keeper.notes.record.trouble
    assert kept.asked("GET") == 6  # what the client tries by itself
    kept.cai.fake.faults.clear()
    kept.tick(20)
    kept.settle("llm-gpu-1")
    assert not kept.keeper.notes.record.trouble
    assert kept.told[1:] == ["llm-gpu-1 is made", "the platform answers again"]


def test_a_lost_answer_makes_nothing_twice(kept: Kept) -> None:
    """It is looked for before it is made again."""
    kept.cai.fake.faults.add(Fault(method="POST", path="/applications$", status=502, html=True, carried_out=True))
    kept.want(gpu=group(1))
    kept.tick(3)
    kept.settle("llm-gpu-1")
    assert kept.asked("POST") == 1


def test_a_broken_record_is_begun_anew(kept: Kept) -> None:
    """What it told is found out again."""
    kept.want(gpu=group(1))
    kept.tick()
    kept.settle("llm-gpu-1")
    shared.keeper_file(kept.folder).write_text(json.dumps({"events": 7}))
    kept.restarted()
    kept.tick(2)
    assert kept.asked("POST") == 1
    record = KeeperRecord.read(shared.keeper_file(kept.folder))
    assert record
    assert list(record.made) == ["llm-gpu-1"]


def test_events_are_bounded(kept: Kept) -> None:
    """The newest are kept."""
    for number in range(shared.EVENTS + 5):
        kept.keeper.notes.event("llm-gpu-1", str(number), 0)
    assert [one.text for one in kept.keeper.notes.record.events][::99] == ["5", str(shared.EVENTS + 4)]
