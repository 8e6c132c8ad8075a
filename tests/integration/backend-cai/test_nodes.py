"""Applications of a stand-in workspace as nodes of a real Ray cluster: joining, moving, dying, coming back.

One cluster for all; each test leaves it whole.
"""

from __future__ import annotations

import stat
from typing import Any

from tests.cai_nodes import argv_of
from tests.conftest import until

from rayllm_backend_cai.shared import NodeRecord

BOUND_S = 120.0


def answers(cluster: Any, name: str) -> dict[str, Any]:
    """Who answers for an application, as soon as somebody does."""
    return dict(until(f"{name} answers", lambda: cluster.ask(name), BOUND_S))


def test_three_nodes(cluster: Any) -> None:
    """Head and workers are there under their applications' names, with what their shapes say."""
    names = cluster.head, cluster.worker(1), cluster.worker(2)
    assert sorted(cluster.alive()) == sorted(names)
    with cluster.ray() as ray:
        told = {node.address: node.resources for node in ray.nodes() if node.state == "alive"}
    assert told[cluster.record(cluster.head).address]["CPU"] == 1
    worker = told[cluster.record(cluster.worker(1)).address]
    assert (worker["GPU"], worker["accelerator_type:X1"]) == (1, 1)
    for name in names:
        cluster.cai.wait(cluster.made[name], "running")


def test_the_platform_finds_somebody(cluster: Any) -> None:
    """Each application answers `/health` through the workspace's ingress."""
    for name in (cluster.head, cluster.worker(1)):
        assert cluster.cai.browse(name, "/health", cluster.cai.fake.key).status_code == 200
    told = cluster.cai.browse(cluster.worker(1), "/health", cluster.cai.fake.key).json()
    assert NodeRecord.model_validate(told) == cluster.record(cluster.worker(1))


def test_rays_dashboard_is_behind_the_heads_address(cluster: Any) -> None:
    """For who shows Ray's token, and nobody else."""
    key, token = cluster.cai.fake.key, (cluster.folder / "token").read_text()
    ask = "/rayllm/ray/api/version"
    assert cluster.cai.browse("demo", ask, key).status_code == 401
    told = cluster.cai.browse("demo", ask, key, **{"x-ray-authorization": f"Bearer {token}"})
    assert "ray_version" in told.json()


def test_no_secret_reaches_the_models(cluster: Any) -> None:
    """Neither the platform's keys nor the project's passwords are in Ray's workers, nor any secret in a log."""
    for name in ("any", "pinned"):
        seen = set(answers(cluster, name)["env"])
        assert seen & {"CDSW_APIV2_KEY", "CDSW_API_URL", "CML_USER_PW"} == set()
        assert {"RAYLLM_HOME", "RAYLLM_RUN", "RAY_AUTH_TOKEN_PATH"} <= seen
    token = cluster.folder / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    secrets = token.read_text(), cluster.cai.fake.key
    assert not [said for name in cluster.made for said in secrets if said in cluster.cai.fake.log(name)]
    for name in cluster.made:
        for process in cluster.cai.fake.pod(name).processes():
            assert not [said for said in secrets if said in " ".join(argv_of(process))]


def test_a_head_that_dies_in_its_place(cluster: Any) -> None:
    """Ray is started again in the same pod; workers stay, and so do their models."""
    before, epoch, nodes = answers(cluster, "pinned"), cluster.at().epoch, cluster.alive()
    cluster.process(cluster.head, "gcs_server").kill()
    until("the head is back", lambda: cluster.at().epoch != epoch, BOUND_S)
    assert answers(cluster, "pinned")["pid"] == before["pid"]
    answers(cluster, "any")
    until("three nodes", lambda: len(cluster.alive()) == 3, BOUND_S)
    after = cluster.alive()
    assert {name for name in after if after[name] == nodes[name]} == {cluster.worker(1), cluster.worker(2)}
    assert (cluster.folder / "logs/demo/gcs_server.out").exists()


def test_a_head_that_is_started_again(cluster: Any) -> None:
    """It has another address; workers find it, and what was deployed serves again, where clients asked before."""
    before = cluster.at()
    cluster.start(cluster.head)
    until("another head", lambda: cluster.at().epoch != before.epoch, BOUND_S)
    after = cluster.at()
    assert after.address != before.address
    assert after.serve_port == before.serve_port
    cluster.await_ready(cluster.head)
    for name in ("any", "pinned"):
        answers(cluster, name)
    until("three nodes", lambda: len(cluster.alive()) == 3, BOUND_S)
    cluster.await_ready(cluster.worker(1), cluster.worker(2))


def test_a_raylet_that_is_killed(cluster: Any) -> None:
    """The worker joins again as a new node, in the same pod."""
    name = cluster.worker(1)
    node, engine = cluster.alive()[name], cluster.record(name).engine
    cluster.process(name, "raylet/raylet").kill()
    until("a new node", lambda: cluster.alive().get(name, node) != node, BOUND_S)
    cluster.await_ready(name)
    assert cluster.record(name).engine == engine
    assert (cluster.folder / f"logs/{name}/raylet.out").exists()


def test_a_pod_that_is_killed(cluster: Any) -> None:
    """Started again through the platform, it is the same node of the cluster."""
    name = cluster.worker(2)
    cluster.cai.fake.pod(name).kill()
    cluster.cai.wait(cluster.made[name], "failed")
    cluster.start(name)
    cluster.await_ready(name, seconds=BOUND_S)
    until("it is alive", lambda: name in cluster.alive(), BOUND_S)


def test_a_worker_that_is_stopped(cluster: Any) -> None:
    """It leaves at once, says so, and nothing of it is left."""
    name = cluster.worker(1)
    cluster.stop(name)
    assert cluster.record(name).state == "leaving"
    until("it is gone", lambda: name not in cluster.alive(), 10)
    cluster.start(name)
    cluster.await_ready(name)


def test_two_heads(cluster: Any) -> None:
    """An earlier start that the platform left behind gives way, and the later one goes on with its records."""
    before = cluster.at()
    head = cluster.made[cluster.head]
    cluster.cai.client.applications.stop(cluster.cai.project, head.id)
    cluster.cai.wait(head, "stopped")
    cluster.cai.settings.polling_s = 600  # it is seen as STARTING, though the door answers
    cluster.start(cluster.head)
    orphan = cluster.cai.fake.pod(cluster.head)
    until("the first has Ray's records", lambda: "starting Ray" in cluster.cai.fake.log(cluster.head), 60)
    cluster.cai.client.applications.restart(cluster.cai.project, head.id)
    cluster.cai.settings.polling_s = 0.1
    assert orphan.processes(), "the stand-in left nothing behind"
    cluster.await_ready(cluster.head)
    assert cluster.at().epoch != before.epoch
    assert cluster.at().address == cluster.cai.fake.pod(cluster.head).address
    until("the first gives way", lambda: "taken over" in orphan.log.read_text(), 30)
    assert not [one for one in orphan.processes() if "gcs_server" in " ".join(argv_of(one))]
    answers(cluster, "any")


def test_a_port_that_is_held_and_records_of_an_earlier_life(cai: Any, cluster: Any) -> None:
    """Where the platform's launcher has the application's port the other is served; a stale head is not believed."""
    names = cluster.head, cluster.worker(1), cluster.worker(2)
    for name in names:
        cluster.stop(name)
    cai.fake.settings.app_port_held = True
    stale = cluster.at().model_copy(update={"address": "127.0.0.9", "epoch": "old"})
    stale.write(cluster.folder / "head.json")
    worker = cluster.worker(1)
    cluster.start(worker)
    until("it waits", lambda: (told := cluster.record(worker)) and told.state == "waiting", 60)
    cluster.start(cluster.head)
    cluster.await_ready(cluster.head, worker)
    pod = cai.fake.pod(cluster.head)
    assert f"port {pod.ports.readonly}" in cluster.record(cluster.head).reason
    assert cai.browse("demo", "/health", cai.fake.key).status_code == 200
    assert cluster.at().serve_port == stale.serve_port
    cai.fake.settings.app_port_held = False
