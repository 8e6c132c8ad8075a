"""What every command starts from: a file, its backend, and the cluster it may find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from tests.unit.core.operator.conftest import FILE, Open, Shown

from rayllm import Cluster
from rayllm.errors import ClusterError


def test_the_gateways_address_comes_from_the_file(opened: Open, cluster: Cluster, shown: Shown) -> None:
    """Where the platform gives no other."""
    session = opened()
    assert session.ensure(shown).gateway_url == cluster.gateway_url
    backend: Any = session.backend
    backend.cluster = replace(cluster, gateway_url="")
    assert session.ensure(shown).gateway_url == "http://127.0.0.1:8000"
    assert session.find_ready().gateway_url == "http://127.0.0.1:8000"


def test_an_ipv6_address_is_written_in_brackets(opened: Open, cluster: Cluster, shown: Shown) -> None:
    """Else its colons look like a port's."""
    session = opened(FILE + 'gateway: {host: "::1", port: 8100}\n')
    backend: Any = session.backend
    backend.cluster = replace(cluster, gateway_url="")
    assert session.ensure(shown).gateway_url == "http://[::1]:8100"


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8000"), ('"::"', "http://[::1]:8000")])  # noqa: S104
def test_a_gateway_on_all_addresses_is_asked_on_this_machines(
    opened: Open, cluster: Cluster, shown: Shown, host: str, url: str
) -> None:
    """A client can't connect to all of them."""
    session = opened(FILE + f"gateway: {{host: {host}, keys: required}}\n")
    backend: Any = session.backend
    backend.cluster = replace(cluster, gateway_url="")
    assert session.ensure(shown).gateway_url == url


def test_there_is_no_cluster(opened: Open) -> None:
    """The cure starts it."""
    session = opened()
    backend: Any = session.backend
    backend.cluster = None
    assert session.find() is None
    with pytest.raises(ClusterError) as caught:
        session.find_ready()
    assert str(caught.value) == "demo is not running\n  do     start it: rayllm up"


@pytest.mark.parametrize(
    ("state", "cure"),
    [
        ("starting", "wait: rayllm status --watch; if nobody brings it up any more: rayllm up"),
        ("failed", "rayllm up"),
    ],
)
def test_a_cluster_that_is_not_ready(
    opened: Open, cluster: Cluster, state: Literal["starting", "failed"], cure: str
) -> None:
    """In the platform's words; one that starts can be watched."""
    session = opened()
    backend: Any = session.backend
    backend.cluster = replace(cluster, state=state, reason="its machine is away")
    with pytest.raises(ClusterError) as caught:
        session.find_ready()
    assert str(caught.value) == (
        f"the cluster of demo is {state}\n  cause  its machine is away\n  do     {cure}\n"
        "  more   rayllm explain cluster-failed"
    )
