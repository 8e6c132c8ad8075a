"""Removing a deployment from a cluster that stays, and a cluster with all that is on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.operator.conftest import Open, Shown

from rayllm import Cluster
from rayllm.deployment import down as module
from rayllm.deployment.down import down
from rayllm.errors import ClusterError
from rayllm.testing.fake_dashboard import FakeDashboard, Handler

PUT = "PUT /api/serve/applications/"


def config(*names: str) -> dict[str, Any]:
    """Applications of these names."""
    return {"applications": [{"name": name, "deployments": [{"name": "engine"}]} for name in names]}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls without a pause."""
    monkeypatch.setattr(module, "POLL_S", 0)


def test_from_a_cluster_that_stays(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Our applications go, others' stay; until ours have finished their requests, that is told."""
    dashboard.serve.put(config("demo--m", "demo--rayllm", "demo-b--m"))
    dashboard.serve.keeps = {"demo--m"}

    def finished(handler: Handler) -> bool:
        dashboard.serve.deleting.clear()
        return False

    session = opened()
    dashboard.disturbances.extend([lambda _: False] * 4 + [finished])
    assert down(session, shown)
    assert dashboard.serve.told.keys() == {"demo-b--m"}
    assert shown.lines == ["· models: 1 to stop; requests in flight finish first"] * 2 + ["✔ models: stopped"]
    backend: Any = session.backend
    assert backend.destroyed == ["demo"]


def test_nothing_of_ours_is_there(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """Then nothing is put: it would start Serve only to have it."""
    assert not down(opened(), shown)
    assert PUT not in dashboard.asked


def test_what_is_being_removed_is_waited_for(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """An earlier `down` was interrupted."""
    dashboard.serve.put(config("demo--m"))
    dashboard.serve.keeps = {"demo--m"}
    dashboard.serve.put(config())

    def finished(handler: Handler) -> bool:
        dashboard.serve.deleting.clear()
        return False

    dashboard.disturbances.extend([lambda _: False] * 3 + [finished])
    assert down(opened(), shown)
    assert "✔ models: stopped" in shown.lines


def test_somebody_deploys_it_again(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """No endless wait."""
    dashboard.serve.put(config("demo--m"))
    dashboard.before_puts.append(lambda _: None)
    session = opened()
    with pytest.raises(ClusterError) as caught:
        down(session, shown)
    assert str(caught.value) == (
        f"somebody else deploys demo again on {dashboard.url}\n  do     agree who goes first, then: rayllm down"
        "\n  more   rayllm explain another-operator"
    )
    backend: Any = session.backend
    assert backend.destroyed == []


def test_a_dashboard_that_is_away_for_a_moment(opened: Open, dashboard: FakeDashboard, shown: Shown) -> None:
    """It is asked again."""
    dashboard.serve.put(config("demo--m"))
    dashboard.disturbances.extend([lambda _: False, lambda _: False, lambda handler: handler.answer(503)])
    assert down(opened(), shown)
    assert shown.lines == [
        "· cluster: does not answer; asking again",
        "✔ cluster: answers again",
        "✔ models: stopped",
    ]


def test_a_cluster_that_rayllm_made(opened: Open, cluster: Cluster, dashboard: FakeDashboard, shown: Shown) -> None:
    """Removed whole, ready or not, without asking it anything."""
    for found in (cluster, replace(cluster, state="failed"), None):
        session = opened(*CREATES)
        backend: Any = session.backend
        backend.cluster = found
        assert down(session, shown) == (found is not None)
        assert backend.destroyed == ["demo"]
    assert dashboard.asked == []


CREATES = ("name: demo\nmodels: {m: {engine: toy, source: file:/m}}", "create")


def test_a_cluster_that_stays_and_is_not_ready(opened: Open, cluster: Cluster, shown: Shown) -> None:
    """Nobody may believe that it was removed."""
    session = opened()
    backend: Any = session.backend
    backend.cluster = replace(cluster, state="starting", reason="its head restarts")
    with pytest.raises(ClusterError, match="the cluster of demo is starting\n  cause  its head restarts"):
        down(session, shown)
    assert backend.destroyed == []
    backend.cluster = None
    assert not down(session, shown)
