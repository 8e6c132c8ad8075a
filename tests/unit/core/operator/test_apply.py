"""`up` against a Serve that only remembers: what it puts, what it finds put, what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.core.operator.conftest import FILE, TOKEN, MemoryBackend, Open, Shown

from rayllm.backends import Cluster
from rayllm.cluster.bundle import Bundle, build
from rayllm.cluster.connection import UnreachableError
from rayllm.deployment import apply, proposal, watch
from rayllm.deployment.apply import up
from rayllm.deployment.watch import ModelsFailedError
from rayllm.errors import ClusterError, DeploymentError, PluginError
from rayllm.testing.fake_dashboard import App, FakeDashboard, Handler

NODE = {"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}
PUT = "PUT /api/serve/applications/"
OURS = {"demo--small", "demo--large", "demo--rayllm"}
Change = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The code package, built once."""
    return build([])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard, bundle: Bundle) -> None:
    """Polls without a pause, on one node."""
    monkeypatch.setattr(proposal, "build", lambda _: bundle)
    monkeypatch.setattr(watch, "POLL_S", 0)
    monkeypatch.setattr(apply, "GONE_S", 0.1)
    dashboard.nodes = [NODE]


def puts(dashboard: FakeDashboard) -> int:
    """How many configs were put."""
    return dashboard.asked.count(PUT)


def test_from_nothing(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """The code first, then one config, then waiting until all is ready."""
    status = up(opened(), shown)
    assert dashboard.serve.told.keys() == OURS
    (code,) = dashboard.packages
    assert {app["runtime_env"]["py_modules"][0] for app in dashboard.serve.told.values()} == {f"gcs://{code}"}
    assert dashboard.asked.index(f"PUT /api/packages/gcs/{code}") < dashboard.asked.index(PUT)
    assert {name: model.state for name, model in status.models.items()} == {"small": "ready", "large": "ready"}
    assert status.gateway_url == dashboard.url
    assert shown.lines == [
        f"✔ gateway: {dashboard.url}",
        "✔ large: ready, answered a first prompt",
        "✔ small: ready, answered a first prompt",
    ]
    assert TOKEN not in str(dashboard.serve.told) + str(status.to_json())


def test_a_second_time(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """The same config again: Serve leaves alone what is equal. The code is there already."""
    up(opened(), shown)
    before = dict(dashboard.serve.told)
    up(opened(), shown)
    assert dashboard.serve.told == before
    assert sum(asked.startswith("PUT /api/packages") for asked in dashboard.asked) == 1


def test_what_cannot_travel_is_refused_first(
    opened: Open, dashboard: FakeDashboard, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before there is a cluster, so that none is made for nothing."""

    def refuse(_: object) -> Bundle:
        raise PluginError("rayllm-engine-far 0.3.1 can't be sent to the nodes")

    monkeypatch.setattr(proposal, "build", refuse)
    monkeypatch.setattr(MemoryBackend, "ensure", lambda *_: pytest.fail("a cluster was made"))
    session = opened()
    for command in (
        lambda: up(session, shown),
        lambda: proposal.propose(session, None),
        lambda: proposal.render(session),
    ):
        with pytest.raises(PluginError, match="can't be sent to the nodes"):
            command()
    assert dashboard.asked == []


def test_another_deployment_stays(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Also one whose name begins as ours does; Serve's own options stay, too."""
    theirs = {"name": "demo-b--m", "deployments": [{"name": "engine"}]}
    dashboard.serve.put({"applications": [theirs], "http_options": {"port": 9000}, "target_capacity": 50.0})
    up(opened(), shown)
    assert dashboard.serve.told.keys() == OURS | {"demo-b--m"}
    assert dashboard.serve.told["demo--rayllm"]["args"]["serve_port"] == 9000
    assert dashboard.serve.options["http_options"]["port"] == 9000
    assert dashboard.serve.options["target_capacity"] == 50.0


def lose(config: dict[str, Any]) -> None:
    """It never arrives."""


def test_a_lost_put_is_put_again(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Serve's own report is believed, not its answer."""
    dashboard.before_puts.append(lose)
    up(opened(), shown)
    assert dashboard.serve.told.keys() == OURS
    assert puts(dashboard) == 2


def test_another_operator_puts_back_what_was_there(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Who read before our PUT and wrote after it: all our names are there, with what they were before."""
    up(opened(), shown)
    old = {"applications": list(dashboard.serve.told.values())}
    dashboard.before_puts.append(lambda _: old)
    up(opened(FILE.replace("size: 2", "size: 3")), shown)
    assert dashboard.serve.told["demo--large"]["args"]["options"] == {"size": 3}
    assert puts(dashboard) == 3


def test_another_operator_who_does_not_give_way(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """No endless fight."""
    dashboard.before_puts.extend([lose] * 9)
    with pytest.raises(ClusterError) as caught:
        up(opened(), shown)
    assert str(caught.value) == (
        f"somebody else keeps replacing what runs on {dashboard.url}\n  do     agree who goes first, then: rayllm up"
        "\n  more   rayllm explain another-operator"
    )
    assert puts(dashboard) == 3


def test_a_model_that_fails(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Told in Serve's words, while the others serve; the next up tries it again."""
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "RuntimeError: no memory", [])
    with pytest.raises(ModelsFailedError) as caught:
        up(opened(), shown)
    assert str(caught.value) == (
        "✘ small  small did not come up\n  cause  RuntimeError: no memory\n1 of 2 models did not come up"
    )
    del dashboard.serve.does["demo--small"]
    dashboard.serve.told["demo--small"]["args"]["attempt"] = 4
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "", [])
    with pytest.raises(ModelsFailedError):
        up(opened(), shown)
    attempts = {name: app["args"]["attempt"] for name, app in dashboard.serve.told.items()}
    assert attempts == {"demo--small": 5, "demo--large": 0, "demo--rayllm": 0}


def test_a_gateway_that_failed_is_tried_again(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Its port may be free by now."""
    dashboard.serve.does["demo--rayllm"] = App("DEPLOY_FAILED", "rayllm.errors.ClusterError: port 8000 is taken", [])
    for attempt in (0, 1):
        with pytest.raises(DeploymentError, match="gateway did not come up\n  cause  port 8000 is taken"):
            up(opened(), shown)
        assert dashboard.serve.told["demo--rayllm"]["args"]["attempt"] == attempt


@pytest.mark.parametrize(("running", "attempt"), [(1, 0), (0, 1)])
def test_an_unhealthy_model(opened: Open, dashboard: FakeDashboard, shown: Shown, running: int, attempt: int) -> None:
    """It is left alone where some of its replicas serve: a new attempt would restart them."""
    up(opened(), shown)
    replica = {"state": "RUNNING", "node_id": "n1", "start_time_s": 0}
    starting = {"state": "STARTING", "node_id": "n1", "start_time_s": 0}
    dashboard.serve.does["demo--small"] = App("UNHEALTHY", "", [*[replica] * running, starting])

    def heal(config: dict[str, Any]) -> dict[str, Any]:
        dashboard.serve.does.clear()
        return config

    dashboard.before_puts.append(heal)
    up(opened(), shown)
    assert dashboard.serve.told["demo--small"]["args"]["attempt"] == attempt


def test_an_earlier_failure_is_not_told_again(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """The directory remembers it until the model is ready."""
    failure = {"message": "old", "cause": "", "cure": "", "at": 1.0, "count": 1, "node": "n", "log": "l"}
    dashboard.snapshot = {"replicas": [], "failures": {"small": failure}}
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "ImportError: new", [])
    dashboard.serve.does["demo--large"] = App(replicas=[])
    with pytest.raises(ModelsFailedError, match="ImportError: new"):
        up(opened(), shown)


def test_what_fits_on_no_node(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Nothing was put; where more nodes can come, they are waited for."""
    large = FILE.replace("options: {size: 2}", "resources: {cpus: 9}")
    with pytest.raises(DeploymentError) as caught:
        up(opened(large), shown)
    assert str(caught.value) == (
        "large: one replica needs 9 CPU cores; the largest node has 8 CPU cores\n"
        "  do     ask for less under resources:, or add nodes\n  more   rayllm explain room"
    )
    assert puts(dashboard) == 0
    up(opened(large, elastic=True), shown)


READY = {"replica": "r", "node": "n1", "phase": "ready", "detail": "", "since": 1.0, "log": "l"}


def answers_503(handler: Handler) -> bool:
    """The controller is away."""
    return handler.answer(503, "The GCS may be down", "text/plain")


def test_a_dashboard_that_is_away_for_a_moment(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """While it is waited for; before, its error is told."""

    def then_away(config: dict[str, Any]) -> dict[str, Any]:
        # The next question reads the PUT back, the one after that is the first look.
        dashboard.disturbances.extend([lambda _: False, answers_503, answers_503])
        return config

    dashboard.before_puts.append(then_away)
    up(opened(), shown)
    assert shown.lines[:2] == ["· cluster: does not answer; asking again", "✔ cluster: answers again"]
    dashboard.disturbances.extend([lambda _: False, answers_503])  # the lease, then the proposal
    with pytest.raises(UnreachableError, match="HTTP 503"):
        up(opened(), shown)


def test_a_cluster_that_is_taken_down_meanwhile(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """That says more than that it does not answer."""
    session = opened()
    backend: Any = session.backend
    assert isinstance(backend, MemoryBackend)

    def take_down(config: dict[str, Any]) -> dict[str, Any]:
        dashboard.disturbances.extend([lambda _: False, answers_503])
        backend.cluster = None
        return config

    dashboard.before_puts.append(take_down)
    with pytest.raises(ClusterError) as caught:
        up(session, shown)
    assert str(caught.value) == (
        "demo was taken down meanwhile\n  do     start it again: rayllm up\n  more   rayllm explain another-operator"
    )


def test_a_cluster_that_may_be_gone_is_looked_for_now_and_then(
    opened: Open, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and then less and less often: each look may be several requests to a platform."""
    session, now = opened(), 0.0
    looks: list[float] = []

    def find(_: str) -> Cluster:
        looks.append(now)
        return replace(cluster, state="starting")

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(session.backend, "find", find)
    monkeypatch.setattr(apply, "GONE_S", 10.0)
    monkeypatch.setattr(apply, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    apply._look_whether_gone(session, ClusterError("no answer"))
    assert looks[0] == 0
    assert looks[-1] > 7
    assert len(looks) <= 10


def test_an_application_that_vanishes(
    opened: Open, dashboard: FakeDashboard, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's PUT without it, while we wait."""
    monkeypatch.setattr(watch, "MISSING_S", 0)
    dashboard.serve.does["demo--small"] = App("DEPLOYING", "", [])
    session = opened()

    def remove(handler: Handler) -> bool:
        del dashboard.serve.told["demo--small"]
        return False

    def then_remove(config: dict[str, Any]) -> dict[str, Any]:
        dashboard.disturbances.extend([lambda _: False, lambda _: False, remove])
        return config

    dashboard.before_puts.append(then_remove)
    with pytest.raises(ClusterError, match="small of demo is gone: somebody else changed the cluster"):
        up(session, shown)
