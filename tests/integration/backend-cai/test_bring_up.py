"""From a key to a cluster whose nodes have joined, and again where it was left."""

from __future__ import annotations

import dataclasses
import re
import shutil
import threading
import time
from typing import Any

import pytest
from tests.cai_cluster import SMALL, THREE_WORKERS, Operators
from tests.conftest import until

from rayllm import Cluster, ClusterError, InputError, RayllmError
from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai import shared
from rayllm_backend_cai.api import retries
from rayllm_backend_cai.testing import Fault
from rayllm_backend_cai.testing.api import Asked

CHANGING = {"POST", "PATCH", "DELETE"}
READING = ("/auth/validate_key", ":download")
"""Ends of paths that are only read from, though they are asked by POST."""
MOST_CALLS = 40
OWN_S = 15.0


def listed(calls: list[Asked]) -> str:
    """For a person."""
    return "\n".join(f"{call.method} {call.path} {call.status}" for call in calls)


def test_four_nodes_with_few_calls(ops: Operators) -> None:
    """All of them alive in Ray; a second `ensure` only reads, a third with another secret writes that alone."""
    start = time.monotonic()
    cluster = ops.up(**THREE_WORKERS)
    seconds, calls = time.monotonic() - start, ops.fake.calls
    assert len(calls) <= MOST_CALLS + seconds / 2, listed(calls)
    assert seconds < 5 * OWN_S
    assert [detail for step, detail in ops.told if step == "environment"] == ["ready, done"]
    domain = ops.fake.url.removeprefix("http://")
    assert cluster.dashboard_url == f"http://demo.{domain}/rayllm/ray"
    assert cluster.gateway_url == f"http://demo.{domain}"
    assert cluster.token == (ops.cluster_folder() / "token").read_text()
    assert cluster.headers == {"authorization": f"Bearer {ops.fake.key}"}
    assert cluster.shown_headers == {"authorization": "Bearer <application key>"}
    assert (cluster.state, cluster.created, cluster.elastic, cluster.serve_port) == ("ready", True, False, 8123)
    assert [(node.name, node.state, node.group, node.head) for node in cluster.nodes] == [
        ("demo", "running", "", True),
        *((f"demo-w-{number}", "running", "w", False) for number in (1, 2, 3)),
    ]
    with ServeApi.of(cluster) as api:
        assert sorted(node.name for node in api.nodes()) == ["demo", "demo-w-1", "demo-w-2", "demo-w-3"]

    second = ops.up(**THREE_WORKERS)
    again = ops.fake.calls[len(calls) :]
    assert [call for call in again if call.method in CHANGING and not call.path.endswith(READING)] == [], listed(again)
    assert second == dataclasses.replace(cluster, created=False)

    ops.up(spec={"secrets": {"HF_TOKEN": "hf_123"}}, **THREE_WORKERS)
    assert (ops.folder / shared.SECRETS / "HF_TOKEN").read_text() == "hf_123"
    third = ops.fake.calls[len(calls) + len(again) :]
    changed = {call.path.rpartition("/")[2] for call in third if call.method in CHANGING}
    assert {path for path in changed if not path.endswith(READING) and path != "validate_key"} == {"files"}


def test_requests_that_fail(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind once: it is asked again. Each for good: there is a cause and a cure, and the next `ensure` goes on."""
    monkeypatch.setattr(retries, "_jitter", lambda _: 0.01)
    ops.up(workers={"w": SMALL})
    asked = sorted({(call.method, _pattern(call.path, ops.project)) for call in ops.fake.calls})
    assert len(asked) >= 10
    ops.down()
    page = {"status": 502, "html": True, "message": "Bad Gateway"}
    ops.fake.faults.add(*(Fault(method=method, path=path, **page) for method, path in asked))
    ops.up(workers={"w": SMALL})
    assert ops.made() == [" running", "-w-1 running", "folder"]
    ops.down()
    for method, path in asked:
        for file in (*(ops.folder / shared.HOME).glob("run-*.py"), ops.cluster_folder() / "wanted.json"):
            file.unlink(missing_ok=True)
        shutil.rmtree(ops.folder / shared.CODE, ignore_errors=True)
        ops.fake.faults.clear()
        ops.fake.faults.add(Fault(method=method, path=path, times=None, status=418, html=True, message="Teapot"))
        with pytest.raises(RayllmError) as caught:
            ops.up(workers={"w": SMALL})
        assert "418 Teapot" in str(caught.value), (method, path)
        assert caught.value.cure, (method, path)
        assert ops.fake.key not in str(caught.value)
    ops.fake.faults.clear()
    ops.up(workers={"w": SMALL})
    assert ops.made() == [" running", "-w-1 running", "folder"]


def _pattern(path: str, project: str) -> str:
    """A path of any project, as a fault's."""
    below = path.removeprefix(f"/projects/{project}")
    name = below.rpartition("%2F")[2].removesuffix(":download")
    if below.startswith("/files/") and name.endswith((".zip", ".json", ".py")):
        name = name.rpartition(".")[2]
    return f"{name}(:download)?$" if below.startswith("/files/") else f"{below}$"


@pytest.mark.parametrize("skip", [0, 1])
def test_no_room(ops: Operators, skip: int) -> None:
    """The quota is told of with what was asked for; what was made stays, and the next call makes the rest."""
    quota = Fault(
        method="POST", path="/applications$", skip=skip, times=None, status=409, code=10, message="out of quota"
    )
    ops.fake.faults.add(quota)
    with pytest.raises(ClusterError, match="no room for the application") as caught:
        ops.up(workers={"w": SMALL})
    assert caught.value.topic == "cai-quota"
    assert "out of quota" in (caught.value.cause or "")
    assert len(ops.rows()) == skip
    ops.fake.faults.clear()
    ops.up(workers={"w": SMALL})
    assert ops.made() == [" running", "-w-1 running", "folder"]


def test_no_room_for_several(ops: Operators) -> None:
    """All that was refused is named at once, with what it asked for."""
    ops.fake.faults.add(
        Fault(method="POST", path="/applications$", skip=2, times=None, status=409, code=10, message="out of quota")
    )
    with pytest.raises(ClusterError, match="no room for the applications demo") as caught:
        ops.up(head=SMALL, **THREE_WORKERS)
    refused = caught.value.message.split("applications ")[1]
    there = [row["name"] for row in ops.rows()]
    assert sorted([*there, *re.findall(r"(\S+) \(1 CPU, 2 GB\)", refused)]) == [
        "demo",
        "demo-w-1",
        "demo-w-2",
        "demo-w-3",
    ]
    assert len(there) == 2


def test_a_key_that_is_revoked_midway(ops: Operators) -> None:
    """It is said so, with where to make another one."""
    other = ops.fake.add_key()
    ops.fake.faults.add(Fault(path="/runtimes", delay_s=1))
    threading.Timer(0.5, ops.fake.revoke, [other]).start()
    with pytest.raises(ClusterError, match="401") as caught:
        ops.up(key=other)
    assert "make a new key" in (caught.value.cure or "")


@pytest.mark.parametrize(
    ("audiences", "options", "said"),
    [
        (["Application"], {}, "audience"),
        (["API"], {}, "cluster.options.key would not be let in"),
        (["API", "Application"], {"application_key": "wrong"}, "cluster.options.application_key would not be let in"),
    ],
)
def test_keys_for_something_else(ops: Operators, audiences: list[str], options: dict[str, Any], said: str) -> None:
    """Found out before anything is made."""
    with pytest.raises(RayllmError, match=said) as caught:
        ops.up(key=ops.fake.add_key(*audiences), **options)
    assert caught.value.cure
    assert ops.made() == []


def test_two_keys_and_a_bypass(ops: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for the API alone will do beside one for applications, or where no log-in is asked for."""
    key, application_key = ops.fake.add_key("API"), ops.fake.add_key("Application")
    monkeypatch.setenv("CML_APPLICATION_KEY", application_key)
    cluster = ops.up(key=key)
    assert cluster.headers == {"authorization": f"Bearer {application_key}"}
    assert cluster.shown_headers == {"authorization": "Bearer $CML_APPLICATION_KEY"}
    ops.down()
    cluster = ops.up(key=key, bypass_authentication=True, spec={"keys_required": True})
    assert (cluster.headers, cluster.shown_headers) == ({}, {})
    assert ops.rows()[0]["bypass_authentication"] is True


def test_a_bypass_that_the_administrator_does_not_allow(ops: Operators) -> None:
    """The page to log in is told from Ray."""
    ops.fake.settings.public_applications = False
    with pytest.raises(ClusterError) as caught:
        ops.up(bypass_authentication=True, spec={"keys_required": True})
    assert "administrator" in (caught.value.cure or "")


def test_a_runtime_that_is_not_there(ops: Operators) -> None:
    """Nothing is made."""
    with pytest.raises(ClusterError, match="is not among"):
        ops.up(head={"runtime": "gone"})
    assert ops.made() == []


def test_gpus_of_a_kind_that_is_not_there(ops: Operators) -> None:
    """Nothing is made."""
    ops.fake.add_runtime({**ops.fake._world.runtimes[0], "image_identifier": "cuda", "edition": "Nvidia GPU"})
    with pytest.raises(ClusterError, match="no kind of GPUs"):
        ops.up(workers={"g": {"gpus": 1, "accelerator": "H100"}})
    assert ops.made() == []


def test_a_host_that_is_not_trusted(ops: Operators) -> None:
    """A file of authorities that is none."""
    with pytest.raises(InputError, match="certificate authorities"):
        ops.up(host="https://localhost:1", ca=str(ops.folder / "none.pem"))


def test_two_at_once(ops: Operators) -> None:
    """Both get the same cluster, and there is one of each."""
    found: list[Cluster] = []
    threads = [threading.Thread(target=lambda: found.append(ops.up(workers={"w": SMALL}))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.token for one in found}) == 1
    assert len(found) == 2
    assert ops.made() == [" running", "-w-1 running", "folder"]


def test_what_nodes_say_while_they_start(ops: Operators) -> None:
    """Is told: a Ray that starts takes its time."""
    head, worker = ops.slowness("demo", "starting Ray"), ops.slowness("demo-w-2", "joining the head")
    operator = threading.Thread(target=lambda: ops.up(workers={"w": {**SMALL, "count": 2}}))
    operator.start()
    try:
        until("the head", lambda: "Ray to start; the head: starting: starting Ray" in ops.said(), 30)
        head.unlink()
        until("a worker", lambda: "1 of 2 workers have joined; demo-w-2: starting: joining the head" in ops.said(), 30)
    finally:
        head.unlink(missing_ok=True)
        worker.unlink()
        operator.join()
