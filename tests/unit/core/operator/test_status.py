"""Serve's report and the directory's, joined into what a person is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rayllm import Cluster, Node
from rayllm.deployment.logs import logs_of, newest
from rayllm.deployment.observing import status_of
from rayllm.deployment.status import ModelStatus, ReplicaStatus, Status
from rayllm.deployment.wording import age, describe, describe_past, failure_of

CLUSTER = Cluster(name="demo", dashboard_url="http://d", gateway_url="http://g", token="s3cret")
FAILURE = {
    "replica": "r0",
    "node": "n1",
    "log": "rayllm/demo--m.r0.log",
    "message": "the engine stopped while starting",
    "cause": "RuntimeError: no memory",
    "cure": "use a GPU",
    "at": 5.0,
    "count": 1,
}

NOW = time.time()
"""Of every look: the replicas' ages are counted from when this file was read, which may be minutes before a test."""
START_FAILED, DIED = "REPLICA_STARTUP_FAILED", "HEALTH_CHECK_FAILED"


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look then."""
    monkeypatch.setattr("time.time", lambda: NOW)


def serve_replica(state: str = "RUNNING", node: str | None = "n1", age_s: float = 0) -> dict[str, Any]:
    """A replica as Serve reports it."""
    return {"state": state, "node_id": node, "start_time_s": NOW - age_s}


def report(status: str = "RUNNING", *replicas: dict[str, Any], name: str = "demo--m", **more: Any) -> dict[str, Any]:
    """Serve's report on one application."""
    serve = {"target_num_replicas": 1, "replicas": list(replicas), "message": "", **more}
    config = {"name": name, "args": {"engine": "toy"}}
    app = {"status": status, "message": "", "deployed_app_config": config, "deployments": {"engine": serve}}
    return {"applications": {name: app}}


def replica(phase: str, since: float = 1, detail: str = "", model: str = "m", name: str = "r1") -> dict[str, Any]:
    """A replica as the directory knows it."""
    known = {"model": model, "replica": name, "node": "n1", "phase": phase, "detail": detail, "since": since}
    return {**known, "log": f"rayllm/demo--{model}.{name}.log", "port": 1}


def snapshot(*replicas: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the directory says."""
    return {"young": False, "replicas": list(replicas), "failures": {}, "past": {}, **more}


def model(details: dict[str, Any], said: dict[str, Any] | None = None) -> ModelStatus:
    """The one model of a deployment."""
    (found,) = status_of(CLUSTER, details, said, []).models.values()
    return found


@pytest.mark.parametrize(
    ("details", "said", "state"),
    [
        (report("RUNNING", serve_replica()), snapshot(replica("ready")), "ready"),
        (report("RUNNING"), snapshot(), "ready"),  # none asked for
        (report("RUNNING", serve_replica()), None, "ready"),  # Serve's word alone
        (report("RUNNING", serve_replica()), snapshot(), "restarting"),
        (report("RUNNING", serve_replica()), snapshot(replica("leaving")), "restarting"),
        (report("RUNNING", serve_replica()), snapshot(replica("ready", model="other")), "restarting"),
        (report("RUNNING", serve_replica()), snapshot(young=True), "ready"),  # it has not heard from all
        (report("DEPLOYING", serve_replica("STARTING")), snapshot(), "starting"),
        (report("NOT_STARTED"), None, "starting"),
        (report("SOMETHING_NEW"), None, "starting"),
        (report("DEPLOYING", serve_replica("STARTING", None, 60)), snapshot(), "waiting"),
        (report("DEPLOYING", serve_replica("STARTING", None, 1)), snapshot(), "starting"),
        (report("DEPLOYING", serve_replica("STARTING", None, 60), serve_replica()), snapshot(), "starting"),
        (report("DEPLOY_FAILED"), snapshot(), "failed"),
        (report("UNHEALTHY", serve_replica("STARTING"), status_trigger=START_FAILED), snapshot(), "unhealthy"),
        (
            report("UNHEALTHY", serve_replica("STARTING"), status_trigger=DIED),
            snapshot(),
            "restarting",
        ),
        (report("UNHEALTHY", serve_replica("STARTING", None, 60), status_trigger=DIED), snapshot(), "waiting"),
        (report("UNHEALTHY", status_trigger=DIED), snapshot(failures={"m": {**FAILURE, "count": 2}}), "unhealthy"),
        (report("UNHEALTHY", serve_replica(), serve_replica("STARTING")), snapshot(replica("ready")), "restarting"),
        (report("UNHEALTHY"), snapshot(failures={"m": FAILURE}), "restarting"),  # its successor is on its way
        (report("UNHEALTHY"), snapshot(failures={"m": {**FAILURE, "count": 2}}), "unhealthy"),
    ],
)
def test_states(details: dict[str, Any], said: dict[str, Any] | None, state: str) -> None:
    """What Serve reports, corrected by what the replicas say."""
    assert model(details, said).state == state


def test_a_whole_deployment() -> None:
    """Models by name, the gateway apart; another deployment's applications are not in it."""
    apps = {
        **report("RUNNING", serve_replica())["applications"],
        **report("RUNNING", serve_replica(), name="demo--rayllm")["applications"],
        **report("RUNNING", serve_replica(), name="demo-b--m")["applications"],
        **report("DELETING", name="demo--old")["applications"],
    }
    said = snapshot(replica("ready", detail="d"), failures={"m": FAILURE})
    found = status_of(CLUSTER, {"applications": apps}, said, [])
    assert found.gateway
    assert (found.gateway.name, found.gateway.state, found.gateway.replicas) == ("gateway", "ready", [])
    assert found.models == {
        "m": ModelStatus(
            name="m",
            state="ready",
            engine="toy",
            running=1,
            wanted=1,
            replicas=[ReplicaStatus("r1", "n1", "ready", "d", 1, "rayllm/demo--m.r1.log")],
            failure=FAILURE,
            cause="",
            endpoint="http://g/v1",
            config={"engine": "toy", "replicas": None},
        )
    }
    assert "s3cret" not in str(found.to_json())


def test_nothing_is_deployed() -> None:
    """No gateway, no models."""
    assert status_of(CLUSTER, {"applications": {}}, None, []) == Status("demo", "http://g", "http://d", None, {}, [])


def test_an_application_that_somebody_else_made() -> None:
    """What its config lacks is empty."""
    app = {"status": "DEPLOYING", "message": "", "deployed_app_config": {"name": "demo--m"}, "deployments": {}}
    found = model({"applications": {"demo--m": app}})
    assert (found.state, found.engine, found.running, found.wanted) == ("starting", "", 0, 0)


def test_serves_words_are_told_when_something_is_wrong() -> None:
    """The deployment's before the application's."""
    assert model(report("DEPLOY_FAILED", message="why")).message == "why"
    assert model(report("RUNNING", message="old")).message == ""
    details = report("DEPLOY_FAILED")
    details["applications"]["demo--m"]["message"] = "could not import"
    assert model(details).message == "could not import"


def status(state: str, *replicas: dict[str, Any], **more: Any) -> ModelStatus:
    """A model's status."""
    keys = ("replica", "node", "phase", "detail", "since", "log")
    found = [ReplicaStatus(**{key: entry[key] for key in keys}) for entry in replicas]
    return ModelStatus("m", state, "toy", more.pop("running", 0), more.pop("wanted", 1), replicas=found, **more)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (status("starting"), "starting a replica"),
        (status("waiting"), "waiting for a node with room, or a busy one"),
        (status("starting", failure=FAILURE), "starting again after: the engine stopped while starting"),
        (status("starting", replica("weights", detail="3 of 5 GiB")), "weights · 3 of 5 GiB"),
        (status("starting", replica("starting")), "engine starting"),
        (status("starting", replica("weights"), replica("starting", 2), wanted=2), "engine starting (0/2 ready)"),
        (status("starting", replica("ready"), wanted=2, running=1), "starting replicas (1/2 ready)"),
        (status("starting", replica("ready"), running=2), "stopping replicas (2/1 ready)"),
        (status("restarting", failure=FAILURE), "restarting: the engine stopped while starting"),
        (status("restarting", replica("leaving")), "leaving"),
        (status("failed", failure=FAILURE), "the engine stopped while starting"),
        (status("failed", message="Traceback\nrayllm.errors.ClusterError: no port\n"), "no port"),
        (status("failed"), "did not come up"),
        (status("unhealthy", replica("starting")), "did not come up"),
    ],
)
def test_what_a_model_is_doing(found: ModelStatus, words: str) -> None:
    """In a few words."""
    assert describe(found) == words


def test_what_a_model_went_through() -> None:
    """How often, when last, and why."""
    past = {**FAILURE, "at": time.time()}
    assert describe_past(past) == "failed less than a minute ago: the engine stopped while starting"
    past = {**FAILURE, "at": time.time() - 170, "count": 3}
    assert describe_past(past) == "failed 3 times, last 3 min ago: the engine stopped while starting"


def test_why_a_model_failed() -> None:
    """The engine's own words first, with how often it was tried; else what matters of Serve's."""
    assert str(failure_of(status("failed", failure={**FAILURE, "count": 2}))) == (
        "the engine stopped while starting, 2 times\n  cause  RuntimeError: no memory\n  do     use a GPU"
    )
    bare = {**FAILURE, "cause": "", "cure": ""}
    assert str(failure_of(status("failed", failure=bare))) == "the engine stopped while starting"
    explained = {**bare, "topic": "engine-start"}
    assert str(failure_of(status("failed", failure=explained))) == (
        "the engine stopped while starting\n  more   rayllm explain engine-start"
    )
    words = "Failed:\n\n  File x\nrayllm.errors.ClusterError: port 8000 is taken\n  cause  by another\n"
    assert failure_of(status("failed", message=words)).cause == "port 8000 is taken\n  cause  by another"
    lines = "\n\n".join(str(number) for number in range(9))
    assert failure_of(status("failed", message=lines)).cause == "3\n4\n5\n6\n7\n8"
    assert str(failure_of(status("failed"))) == "m did not come up"


def shown(found: ModelStatus, *, last_start: bool = False) -> str:
    """The file of the log that is shown."""
    return newest(logs_of(found), last_start=last_start).file


def test_whose_log_is_shown() -> None:
    """The newest replica's, else that of the last failure."""
    both = status("starting", replica("ready", 1, name="r1"), replica("starting", 2, name="r2"), failure=FAILURE)
    assert shown(both) == "rayllm/demo--m.r2.log"
    assert shown(status("failed", failure=FAILURE)) == "rayllm/demo--m.r0.log"
    preparing = status("starting", replica("ready", 1, name="r1"), replica("weights", 2, name="r2"))
    assert shown(preparing) == "rayllm/demo--m.r1.log"
    assert logs_of(status("starting", replica("environment"))) == []
    assert logs_of(status("starting")) == []
    assert logs_of(status("failed", failure={**FAILURE, "log": ""})) == []


def test_whose_start_was_the_last() -> None:
    """Whichever came later, a start or a failure; what fell before it is there by name."""
    before = status("restarting", replica("ready", 1), failure=FAILURE)
    assert (shown(before), shown(before, last_start=True)) == ("rayllm/demo--m.r1.log", "rayllm/demo--m.r0.log")
    after = status("ready", replica("ready", 6), past=FAILURE)
    assert shown(after, last_start=True) == "rayllm/demo--m.r1.log"
    assert [(log.replica, log.node, log.state) for log in logs_of(after)] == [
        ("r1", "n1", "ready"),
        ("r0", "n1", "failed"),
    ]


@pytest.mark.parametrize(
    ("details", "said", "cause", "cure"),
    [
        (report("RUNNING", serve_replica()), snapshot(replica("ready")), "", ""),
        (
            report("DEPLOY_FAILED"),
            snapshot(failures={"m": FAILURE}),
            "the engine stopped while starting: RuntimeError: no memory",
            "use a GPU",
        ),
        (
            report("DEPLOY_FAILED"),
            snapshot(failures={"m": {**FAILURE, "cause": "", "cure": ""}}),
            "the engine stopped while starting",
            "see what it wrote: rayllm logs m --last-start; then: rayllm up",
        ),
        (
            report("RUNNING", serve_replica()),
            snapshot(failures={"m": {**FAILURE, "cure": ""}}),
            "the engine stopped while starting: RuntimeError: no memory",
            "see what it wrote: rayllm logs m --last-start; it is tried again by itself",
        ),
        (
            report("DEPLOY_FAILED", message="Traceback\nrayllm.errors.ClusterError: no port"),
            None,
            "no port",
            "see what it wrote: rayllm logs m --last-start; then: rayllm up",
        ),
        (
            report("DEPLOYING", serve_replica("STARTING")),
            snapshot(replica("weights", detail="3 of 5 GiB")),
            "its weights are being fetched: 3 of 5 GiB",
            "wait: rayllm status m --watch",
        ),
        (report("DEPLOYING"), snapshot(), "Ray is starting its replica", "wait: rayllm status m --watch"),
        (
            report("DEPLOYING", serve_replica("STARTING", None, 60), required_resources={"CPU": 2, "GPU": 1}),
            snapshot(),
            "one replica needs 2 CPU cores, 1 GPU; the largest node has 4 CPU cores, 0 GPUs",
            "ask for less under resources:, stop another model, or add a node",
        ),
        (
            report("DEPLOYING", serve_replica(), serve_replica("STARTING", None, 60), required_resources={"CPU": 2.5}),
            snapshot(),
            "one replica needs 2.5 CPU cores; no node has that free, the best has 1.5 CPU cores",
            "ask for less under resources:, stop another model, or add a node",
        ),
        (
            report("DEPLOYING", serve_replica("STARTING", None, 60), required_resources={"CPU": 2}),
            snapshot(),
            "Ray has given its replica no node, though Serve's replicas leave room for it",
            "see who else works on the cluster: `ray status` on its head node",
        ),
    ],
)
def test_one_cause_and_one_cure(details: dict[str, Any], said: dict[str, Any] | None, cause: str, cure: str) -> None:
    """What Serve says, what the replicas report and what the nodes have, joined."""
    nodes = [Node(id="n1", state="alive", resources={"CPU": 4.0})]
    (found,) = status_of(CLUSTER, details, said, nodes).models.values()
    assert (found.cause, found.cure) == (cause, cure)


def test_what_an_older_rayllm_deployed() -> None:
    """Its versions are not known."""
    details = report("RUNNING", serve_replica())
    assert model(details, snapshot(replica("ready"))).versions == {}
    details["applications"]["demo--m"]["deployed_app_config"]["args"]["versions"] = {"rayllm-core": "0.1.0"}
    assert model(details, snapshot(replica("ready"))).versions == {"rayllm-core": "0.1.0"}


def test_how_long_ago() -> None:
    """In the largest unit."""
    assert [age(seconds) for seconds in (-1, 59, 60, 7199, 86400 * 2)] == ["0 s", "59 s", "1 min", "1 h", "2 d"]
