"""What other commands do with a cluster: find, scale, read logs, remove."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from tests.cai_cluster import NAME, SMALL, Operators
from tests.conftest import until

from rayllm import ClusterError, ClusterSpec, InputError
from rayllm.cluster.serve_api import ServeApi
from rayllm.testing.fake_dashboard import FakeDashboard
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.api.records import Application, NewApplication, NewJob
from rayllm_backend_cai.applications import head_application, worker_application
from rayllm_backend_cai.shared import Group, Hold, KeeperRecord, Leaving, Shape, Wanted
from rayllm_backend_cai.steps import draining
from rayllm_backend_cai.testing import Fault

WORKER: dict[str, Any] = {"workers": {"w": SMALL}}
FEW_CALLS = 6
"""One of them since there could be more workers."""


def test_find(ops: Operators) -> None:
    """From any machine, as `ensure` told it, with few calls that change nothing."""
    assert ops.backend(project="none").find(NAME) is None
    assert ops.backend().find(NAME) is None
    made = ops.up(workers={"w": {**SMALL, "count": {"min": 1, "max": 2}}})
    assert made.elastic
    before = len(ops.fake.calls)
    found = ops.backend().find(NAME)
    calls = ops.fake.calls[before:]
    assert found
    assert found.created is False
    assert (found.token, found.nodes, found.gateway_url, found.elastic) == (
        made.token,
        made.nodes,
        made.gateway_url,
        True,
    )
    assert len(calls) <= FEW_CALLS
    assert {call.method for call in calls if not call.path.endswith(":download")} == {"GET"}
    assert ops.backend().find("demo-w") is None, "part of a name"


def test_what_is_half_made_is_found(ops: Operators) -> None:
    """So that `down` removes it."""
    Wanted(name=NAME, subdomain=NAME, code="c", serving="s", head=shape()).write(ops.cluster_folder() / "wanted.json")
    found = ops.backend().find(NAME)
    assert found
    assert (found.state, found.nodes) == ("failed", [])
    ops.down()
    assert ops.backend().find(NAME) is None


def shape() -> Shape:
    """A small node."""
    return Shape(cpus=1, memory=2, runtime="r")


def test_logs(ops: Operators) -> None:
    """The last lines of a node's."""
    place = ops.cluster_folder() / "logs" / NAME / "supervisor.log"
    place.parent.mkdir(parents=True)
    place.write_text("one\ntwo\nthree\n")
    assert "".join(ops.backend().logs(NAME, NAME, lines=2)) == "two\nthree\n"
    assert "".join(ops.backend().logs(NAME, NAME, lines=9)) == "one\ntwo\nthree\n"
    assert "".join(ops.backend().logs(NAME, NAME, lines=0)) == ""
    assert "".join(ops.backend().logs(NAME, NAME, lines=-1)) == "one\ntwo\nthree\n"
    with pytest.raises(InputError, match=r"no log of a node 'dem'.*did you mean") as caught:
        list(ops.backend().logs(NAME, "dem", lines=2))
    assert "logs of demo" in (caught.value.cure or "")
    with pytest.raises(InputError, match="no cluster demo"):
        list(ops.backend(project="none").logs(NAME, NAME, lines=2))


def test_scale(ops: Operators) -> None:
    """Up and down, by the head; the file's number counts again with the next `ensure`."""
    with pytest.raises(ClusterError, match="not running"):
        ops.backend().scale(NAME, "w", 2, ops.progress)
    ops.up(**WORKER)
    ops.backend().scale(NAME, "w", 2, ops.progress)  # both are in Ray; the platform may say so later
    until("both run", lambda: ops.made() == [" running", "-w-1 running", "-w-2 running", "folder"], 20)
    ops.backend().scale(NAME, "w", 0, ops.progress)
    assert ops.made() == [" running", "folder"]
    with pytest.raises(InputError, match="no group of nodes 'v'") as caught:
        ops.backend().scale(NAME, "v", 1, ops.progress)
    assert caught.value.cure == "it has w"
    ops.up(**WORKER)
    assert ops.made() == [" running", "-w-1 running", "folder"]


def test_what_a_node_that_is_too_much_waits_for(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its replicas, and how long at most, as the head has written."""
    monkeypatch.setattr(draining, "replicas_by_node", lambda _: Counter({"demo-w-1": 2}))
    ops.up(**WORKER)
    (worker,) = (row["id"] for row in ops.rows() if row["name"] == "demo-w-1")
    end = time.mktime((2026, 1, 2, 13, 14, 15, 0, 0, -1))
    leaving = Leaving(name="demo-w-1", reason="0 of w are wanted", since=end - 660, until=end)
    KeeperRecord(leaving={worker: leaving}).write(ops.cluster_folder() / "keeper.json")
    ops.fake.faults.add(Fault(method="DELETE", path="/applications/", status=503, message="busy"))  # it takes a while
    ops.backend().scale(NAME, "w", 0, ops.progress)
    assert "0 wanted; demo-w-1 drains: 2 replicas there, until 13:14:15 at the latest" in ops.said()
    words = draining.draining_words(
        KeeperRecord(leaving={"a": leaving}), [Application(id="a", name="demo-w-1")], Counter()
    )
    assert list(words) == ["demo-w-1 goes: no replica is there any more"]


def test_where_replicas_are() -> None:
    """By the names of the nodes."""
    with FakeDashboard() as head, ServeApi(head.url) as api:
        head.nodes = [{"node_id": "n1", "node_name": "demo-w-1", "state": "ALIVE"}]
        head.serve.put({"applications": [{"name": "demo--a", "deployments": [{"name": "EngineReplica"}]}]})
        assert draining.replicas_by_node(api) == {"demo-w-1": 1}


def test_scale_of_two_at_once(ops: Operators) -> None:
    """The later one counts, and the other is told at once."""
    ops.up(**WORKER)

    def meanwhile(step: str, detail: str, *, done: bool = False) -> None:
        ops.progress(step, detail, done=done)
        if "5 wanted" in detail:
            ops.backend().scale(NAME, "w", 0, ops.progress)

    with pytest.raises(ClusterError, match="by somebody else meanwhile") as caught:
        ops.backend().scale(NAME, "w", 5, meanwhile)
    assert caught.value.topic == "another-operator"
    assert "5 wanted" in ops.said()
    assert ops.made() == [" running", "folder"]


def test_a_scale_beyond_what_names_can_be(ops: Operators) -> None:
    """The workspace would refuse the last one for ever."""
    name, group = "n" * 40, "g" * 20
    ops.up(name, workers={group: SMALL})
    with pytest.raises(InputError, match="longer than the 63 letters") as caught:
        ops.backend().scale(name, group, 10, ops.progress)
    assert "fewer of them" in (caught.value.cure or "")
    wanted = Wanted.read(ops.cluster_folder(name) / "wanted.json")
    assert wanted
    assert wanted.groups[group].max == 1


def test_a_scale_whose_head_ends(ops: Operators) -> None:
    """Nobody makes the workers: that is said at once, and not when the time for it is over."""
    ops.up(**WORKER)
    ops.fake.settings.stuck = frozenset({"demo-w-2"})

    def kill(step: str, detail: str, *, done: bool = False) -> None:
        ops.progress(step, detail, done=done)
        if "2 wanted" in detail:
            ops.fake.pod(NAME).kill(oom=True)

    with pytest.raises(ClusterError, match="the head of demo has ended") as caught:
        ops.backend().scale(NAME, "w", 2, kill)
    assert "memory" in (caught.value.cause or "")
    assert "rayllm up" in (caught.value.cure or "")


def test_a_scale_that_the_platform_refuses(ops: Operators) -> None:
    """Why the head makes no more is told while it is waited for."""
    ops.up(**WORKER)
    ops.fake.settings.stuck = frozenset({"demo-w-2"})
    record = KeeperRecord(refused={"w": Hold(reason="out of quota", since=time.time(), again=time.time())})
    record.write(shared.keeper_file(ops.cluster_folder()))

    def enough(step: str, detail: str, *, done: bool = False) -> None:
        ops.progress(step, detail, done=done)
        if "2 wanted; w: out of quota" in detail:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ops.backend().scale(NAME, "w", 2, enough)


def test_a_scale_while_it_comes_up(ops: Operators) -> None:
    """Workers are no longer waited for that somebody else has put off."""
    ops.misfortune("demo-w-1", "ConnectionError: no head there")
    (ops.folder / ".watchful").touch()

    def meanwhile(step: str, detail: str, *, done: bool = False) -> None:
        ops.progress(step, detail, done=done)
        if "0 of 1 workers" in detail:
            ops.backend().scale(NAME, "w", 0, ops.progress)

    spec = ClusterSpec(name=NAME, gateway_host="127.0.0.1", gateway_port=8000)
    with pytest.raises(ClusterError, match="by somebody else meanwhile"):
        ops.backend(**WORKER).ensure(spec, meanwhile)


def test_what_the_head_says_of_workers_is_found(ops: Operators, client: CaiClient) -> None:
    """Why there are not more; asked for only where there could be."""
    ops.up(**WORKER)
    record = KeeperRecord(refused={"w": Hold(reason="out of quota", since=time.time(), again=time.time())})
    record.write(shared.keeper_file(ops.cluster_folder()))
    before = len(ops.fake.calls)
    found = ops.backend().find(NAME)
    assert found
    assert len(ops.fake.calls) - before == FEW_CALLS - 1
    assert [node.name for node in found.nodes] == [NAME, "demo-w-1"]
    ops.fake.faults.add(Fault(method="POST", path="/applications$", times=None, status=409, code=10, message="no"))
    (worker,) = client.applications.named(ops.project, "demo-w-1")
    client.applications.stop(ops.project, worker.id)
    client.applications.delete(ops.project, worker.id)
    found = ops.backend().find(NAME)
    assert found
    assert [(node.name, node.state, node.reason) for node in found.nodes] == [
        (NAME, "running", ""),
        ("demo-w-1", "refused", "out of quota"),
    ]


def test_destroy_of_nothing(ops: Operators) -> None:
    """Is no error, whatever is missing, and is told as what it is."""
    ops.down()
    ops.down(project="none")
    assert ops.made() == []
    assert ops.told == [("cluster", "there is nothing of it to remove, done")] * 2


def test_destroy_of_anything(ops: Operators, client: CaiClient) -> None:
    """Stuck, failed, stopped, twice there; another cluster and a person's own application stay."""
    small = Group(**{**shape().model_dump(), "runtime": ops.fake.image}, min=1, max=1)
    wanted = Wanted(name=NAME, subdomain=NAME, code="c", serving="s", head=small, groups={"w": small})
    (ops.folder / shared.run_script("c")).write_text("raise SystemExit(3)")
    (ops.folder / "mine.py").write_text("import time\ntime.sleep(600)\n")
    ops.fake.settings.stuck = frozenset({NAME})
    ops.fake.settings.taken_subdomain = "suffix"
    ops.fake.settings.stopping_s = ops.fake.settings.deleting_s = 0.5
    new = [head_application(wanted), head_application(wanted)]
    new += [worker_application(wanted, "w", number) for number in (1, 1, 2)]
    for one in new:
        client.applications.create(ops.project, one)
    mine = NewApplication(name="demo-x-1", subdomain="mine", script="mine.py", runtime_identifier=ops.fake.image)
    client.applications.create(ops.project, mine)
    other = wanted.model_copy(update={"name": "demo-2", "subdomain": "demo-2"})
    client.applications.create(ops.project, head_application(other))
    job = NewJob(name="demo-environment", script="mine.py", runtime_identifier=ops.fake.image)
    made = client.jobs.create(ops.project, job)
    client.jobs.start(ops.project, made.id)
    wanted.write(ops.cluster_folder() / "wanted.json")
    ops.down()
    assert ops.told[-2:] == [("cluster", "removing its files"), ("cluster", "gone, done")]
    assert ops.made() == []
    assert sorted(one.name for one in client.applications.all(ops.project)) == ["demo-2", "demo-x-1"]
    assert client.jobs.all(ops.project) == []
    until("the job's run is gone", lambda: not ops.fake.pod("demo-environment").processes(), 10)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_destroy_that_is_refused(ops: Operators, method: str) -> None:
    """It is told, and the next one goes on."""
    ops.up(**WORKER)
    fault = Fault(method=method, path="/applications/", times=None, status=403, code=7, message="no right")
    ops.fake.faults.add(fault)
    with pytest.raises(ClusterError, match="403"):
        ops.down()
    ops.fake.faults.clear()
    ops.down()
    assert ops.made() == []


def test_more_goes_when_asked(ops: Operators, client: CaiClient) -> None:
    """RayLLM's files, or the project; not while others are there."""
    (ops.folder / "mine.py").write_text("import time\ntime.sleep(600)\n")
    mine = NewApplication(name="mine", subdomain="mine", script="mine.py", runtime_identifier=ops.fake.image)
    there = client.applications.create(ops.project, mine)
    ops.down(on_down="files")
    assert not (ops.folder / shared.HOME).exists()
    with pytest.raises(ClusterError, match="other applications") as caught:
        ops.down(on_down="project")
    assert caught.value.cause == "mine"
    client.applications.delete(ops.project, there.id)
    ops.down(on_down="project")
    assert client.projects.named("llm") == []
