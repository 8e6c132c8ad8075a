"""The operator's client of the admin API: what is not the gateway counts as no answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rayllm import Cluster
from rayllm.cluster.admin_api import AdminApi
from rayllm.testing.fake_dashboard import FakeDashboard


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[AdminApi]:
    """A client with the cluster's token."""
    client = AdminApi(cluster)
    yield client
    client.close()


def test_before_the_gateway_answers(admin: AdminApi) -> None:
    """Nobody says anything, nobody is in the way."""
    assert admin.state() is None
    assert admin.acquire("me") is None
    admin.release("me")


def test_the_gateway_answers(admin: AdminApi, dashboard: FakeDashboard) -> None:
    """The state, and the right to change it, for one at a time."""
    dashboard.snapshot = {"replicas": []}
    assert admin.state() == {"replicas": []}
    assert admin.acquire("me") == "me"
    assert admin.acquire("you") == "me"
    admin.release("me")
    assert admin.acquire("you") == "you"


def test_a_wrong_token(cluster: Cluster, dashboard: FakeDashboard) -> None:
    """As if nobody was there: what is wrong with it, the dashboard tells."""
    dashboard.token, dashboard.snapshot = "another", {"replicas": []}
    admin = AdminApi(cluster)
    assert admin.state() is None
    assert admin.acquire("me") is None
    admin.close()


@pytest.mark.parametrize("body", ["<html>", [], {}])
def test_another_program_on_the_gateways_port(admin: AdminApi, dashboard: FakeDashboard, body: object) -> None:
    """Whatever it answers, it is not the gateway."""
    for _ in range(2):
        dashboard.disturbances.append(lambda handler: handler.answer(200, body))
    assert not admin.state()
    assert admin.acquire("me") is None


def test_nobody_there(cluster: Cluster, dashboard: FakeDashboard) -> None:
    """No connection, no error."""
    dashboard.shutdown()
    dashboard.server_close()
    admin = AdminApi(cluster)
    assert admin.state() is None
    assert admin.acquire("me") is None
    admin.release("me")
    admin.close()
