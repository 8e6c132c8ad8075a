"""What goes wrong with applications while a cluster comes up, and what the next `ensure` makes of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.cai_cluster import NAME, SMALL, Operators
from tests.conftest import until

from rayllm import Cluster, ClusterError
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import NewApplication
from rayllm_backend_cai.applications import head_application, worker_application
from rayllm_backend_cai.shared import Wanted
from rayllm_backend_cai.steps import coming_up, nodes
from rayllm_backend_cai.testing import Fault, Limits

WORKER: dict[str, Any] = {"workers": {"w": SMALL}}
WHOLE = [" running", "-w-1 running", "folder"]


def test_a_script_that_ends_at_once(ops: Operators) -> None:
    """The platform's word for it is told, and the next call makes it anew."""
    python, ops.fake.settings.python = ops.fake.settings.python, "/bin/false"
    with pytest.raises(ClusterError, match="the head of demo has ended") as caught:
        ops.up(**WORKER)
    assert "status 1" in (caught.value.cause or "")
    ops.fake.settings.python = python
    ops.up(**WORKER)
    assert ops.made() == WHOLE


def test_a_head_that_does_not_come_up(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own last words are told."""
    monkeypatch.setattr(coming_up, "START_S", 4.0)
    ops.misfortune(NAME, "RuntimeError: the disk is full")
    with pytest.raises(ClusterError, match="still starting") as caught:
        ops.up()
    assert "the disk is full" in (caught.value.cause or "")
    assert caught.value.cure
    assert (found := ops.backend().find(NAME))
    assert (found.state, found.reason) == ("starting", "the application of its head is starting")


def test_a_start_that_is_stuck(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bounded; `down` removes what is STARTING, then it comes up."""
    monkeypatch.setattr(coming_up, "START_S", 1.0)
    ops.fake.settings.stuck = frozenset({NAME})
    with pytest.raises(ClusterError, match="still starting") as caught:
        ops.up()
    assert "rayllm down" in (caught.value.cure or "")
    ops.fake.settings.stuck = frozenset()
    ops.down()
    assert ops.made() == []
    monkeypatch.setattr(coming_up, "START_S", 60.0)
    ops.up()


def test_a_workspace_that_has_no_room(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform lets it wait."""
    monkeypatch.setattr(coming_up, "START_S", 1.0)
    ops.fake.settings.limits, ops.fake.settings.over_limit = Limits(cpu=1), "wait"
    with pytest.raises(ClusterError, match="still starting") as caught:
        ops.up()
    assert "waits for a place" in (caught.value.cause or "")


def test_a_head_that_vanishes(ops: Operators, client: CaiClient) -> None:
    """Somebody deletes it while it starts."""
    ops.fake.settings.stuck = frozenset({NAME})

    def vanish() -> None:
        while not (there := client.applications.all(ops.project)):
            pass
        threading.Event().wait(1)
        client.applications.delete(ops.project, there[0].id)

    thread = threading.Thread(target=vanish)
    thread.start()
    with pytest.raises(ClusterError, match="has vanished"):
        ops.up()
    thread.join()


def test_a_worker_that_does_not_join(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with its last words."""
    ops.misfortune("demo-w-1", "ConnectionError: no head there")
    real = coming_up.ComingUp.await_workers

    def soon(self: coming_up.ComingUp, *told: Any) -> Any:
        monkeypatch.setattr(coming_up, "START_S", 3.0)
        return real(self, *told)

    monkeypatch.setattr(coming_up.ComingUp, "await_workers", soon)
    with pytest.raises(ClusterError, match="not all workers of demo have joined") as caught:
        ops.up(**WORKER)
    assert "demo-w-1: starting" in (caught.value.cause or "")
    assert "no head there" in (caught.value.cause or "")


def test_a_head_that_was_stopped(ops: Operators, client: CaiClient) -> None:
    """`find` says so; `ensure` makes it anew, with the same token, and leaves workers that do well alone."""
    first = ops.up(**WORKER)
    (head,) = client.applications.named(ops.project, NAME)
    (worker,) = client.applications.named(ops.project, "demo-w-1")
    client.applications.stop(ops.project, head.id)
    found = ops.backend().find(NAME)
    assert found
    assert found.state == "failed"
    assert "rayllm up starts it again" in found.reason
    again = ops.up(**WORKER)
    assert (again.token, again.created) == (first.token, False)
    assert ops.made() == WHOLE
    assert client.applications.named(ops.project, NAME)[0].id != head.id
    assert client.applications.named(ops.project, "demo-w-1")[0].id == worker.id


def test_a_head_that_took_too_much_memory(ops: Operators) -> None:
    """`find` knows why it ended."""
    ops.up()
    ops.fake.pod(NAME).kill(oom=True)
    found = None
    while (found := ops.backend().find(NAME)) is None or found.state == "ready":
        pass
    assert found.state == "failed"
    assert "out of memory" in found.reason
    assert [node.reason.partition(":")[0] for node in found.nodes] == ["out of memory"]


def wanted_by(ops: Operators) -> Wanted:
    """What the cluster that runs was made with."""
    found = Wanted.read(ops.cluster_folder() / "wanted.json")
    assert found
    return found


def test_duplicates(ops: Operators, client: CaiClient) -> None:
    """The older one of each stays."""
    ops.up(**WORKER)
    before = {one.name: one.id for one in client.applications.all(ops.project)}
    ops.fake.settings.taken_subdomain = "suffix"
    client.applications.create(ops.project, head_application(wanted_by(ops)))
    ops.up(**WORKER)
    assert {one.name: one.id for one in client.applications.all(ops.project)} == before
    client.applications.stop(ops.project, before[NAME])
    client.applications.create(ops.project, worker_application(wanted_by(ops), "w", 1))
    ops.up(**WORKER)
    after = {one.name: one.id for one in client.applications.all(ops.project)}
    assert after["demo-w-1"] == before["demo-w-1"]
    assert ops.made() == WHOLE


def squat(ops: Operators, client: CaiClient) -> None:
    """Somebody else's application takes the address."""
    (ops.folder / "other.py").write_text("import time\ntime.sleep(600)\n")
    new = NewApplication(name="other", subdomain=NAME, script="other.py", runtime_identifier=ops.fake.image)
    client.applications.create(ops.project, new)


def test_a_subdomain_that_is_taken(ops: Operators, client: CaiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with what to do; with another one it comes up."""
    monkeypatch.setattr(nodes, "TAKEN_S", 1.0)
    squat(ops, client)
    with pytest.raises(ClusterError, match="has the subdomain demo") as caught:
        ops.up()
    assert "cluster.options.subdomain" in (caught.value.cure or "")
    assert ops.up(subdomain="demo-2").gateway_url.startswith("http://demo-2.")


def test_a_subdomain_that_gets_a_suffix(ops: Operators, client: CaiClient) -> None:
    """The cluster is where the platform says; the next `ensure` leaves it there."""
    ops.fake.settings.taken_subdomain = "suffix"
    squat(ops, client)
    first = ops.up()
    assert first.gateway_url.startswith("http://demo-")
    assert ops.up().gateway_url == first.gateway_url
    assert (found := ops.backend().find(NAME))
    assert found.gateway_url == first.gateway_url


def test_a_subdomain_that_leads_elsewhere(ops: Operators, client: CaiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made without a word, and never reached."""
    monkeypatch.setattr(coming_up, "START_S", 2.0)
    ops.fake.settings.taken_subdomain = "conflict"
    squat(ops, client)
    with pytest.raises(ClusterError, match="still starting"):
        ops.up()


@pytest.mark.parametrize("taken", ["refuse", "suffix"])
def test_two_at_once_behind_slow_lists(ops: Operators, taken: Any) -> None:
    """Both see their own applications late, and each other's; one of each stays."""
    ops.fake.settings.list_lag_s, ops.fake.settings.taken_subdomain = 1.5, taken
    (ops.folder / ".watchful").touch()
    found: list[Cluster] = []
    threads = [threading.Thread(target=lambda: found.append(ops.up(**WORKER))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len({(one.token, one.gateway_url) for one in found}) == 1
    until("one of each is left", lambda: ops.made() == WHOLE, 20)


def test_a_head_with_another_shape(ops: Operators, client: CaiClient) -> None:
    """It is made anew, and that is said; the old one goes first: it would make the same workers."""
    first = ops.up(**WORKER)
    (head,) = client.applications.named(ops.project, NAME)
    before = len(ops.fake.calls)
    again = ops.up(head={"cpus": 2}, workers={"w": {**SMALL, "count": 2}})
    assert "cpus 4.0 → 2.0" in ops.said()
    assert (again.token, again.gateway_url, again.created) == (first.token, first.gateway_url, False)
    assert {row["name"]: row["cpu"] for row in ops.rows()} == {NAME: 2, "demo-w-1": 1, "demo-w-2": 1}
    calls = [f"{call.method} {call.path.rpartition('/')[2]}" for call in ops.fake.calls[before:]]
    assert calls.index(f"DELETE {head.id}") < calls.index("POST applications")


def test_workers_with_another_shape(ops: Operators) -> None:
    """Refused, since nobody would drain them; a new group beside goes."""
    ops.up(**WORKER)
    with pytest.raises(ClusterError, match=r"cpus 1.0 → 2.0") as caught:
        ops.up(workers={"w": {**SMALL, "cpus": 2}})
    assert "another name" in (caught.value.cure or "")
    ops.up(workers={"w2": {**SMALL, "cpus": 2}})
    assert {row["name"] for row in ops.rows()} >= {NAME, "demo-w2-1"}


def test_new_code_restarts_nothing(ops: Operators, client: CaiClient) -> None:
    """It is said; new nodes get it."""
    ops.up(**WORKER)
    before = {one.name: one.id for one in client.applications.all(ops.project)}
    for row in ops.rows():
        row["environment"] = row["environment"].replace(wanted_by(ops).code, "older")
    kept = {path: path.stat().st_mtime_ns for path in (ops.folder / shared.HOME).glob("run-*.py")}
    ops.up(**WORKER)
    assert "2 of them run other code" in ops.said()
    assert {path: path.stat().st_mtime_ns for path in (ops.folder / shared.HOME).glob("run-*.py")} == kept
    assert {one.name: one.id for one in client.applications.all(ops.project)} == before


@pytest.mark.parametrize(("killed", "said"), [(False, "Ray has not started"), (True, "the head of demo has ended")])
def test_a_head_that_writes_nothing(ops: Operators, monkeypatch: pytest.MonkeyPatch, killed: bool, said: str) -> None:
    """It runs, as the platform has it, and Ray does not start in it, or it ends before that."""
    ops.fake.faults.add(Fault(path=r"head.json:download$", times=None, status=404, code=5, message="no file"))
    asked = coming_up.ComingUp.await_records

    def meanwhile(self: coming_up.ComingUp) -> Any:
        if killed:
            ops.fake.pod(NAME).kill()
        else:
            monkeypatch.setattr(coming_up, "START_S", 2.0)
        return asked(self)

    monkeypatch.setattr(coming_up.ComingUp, "await_records", meanwhile)
    before = len(ops.fake.calls)
    with pytest.raises(ClusterError, match=said) as caught:
        ops.up()
    assert caught.value.cause
    assert caught.value.cure
    assert len(ops.fake.calls) - before < 60
