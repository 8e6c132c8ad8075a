"""Who may change a deployment now."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rayllm import Cluster, ClusterError
from rayllm.cluster.admin_api import AdminApi
from rayllm.deployment.lease import lease, new_holder
from rayllm.testing.fake_dashboard import FakeDashboard, Handler

RELEASE = "DELETE /rayllm/v1/lease"


@pytest.fixture
def admin(cluster: Cluster, dashboard: FakeDashboard) -> Iterator[AdminApi]:
    """A gateway that answers."""
    dashboard.snapshot = {}
    client = AdminApi(cluster)
    yield client
    client.close()


def test_taken_renewed_and_given_back(admin: AdminApi, dashboard: FakeDashboard) -> None:
    """It is told when it is granted late, and only once."""
    dashboard.snapshot = None
    with lease(admin, "demo") as renew:
        assert not renew()
        dashboard.snapshot = {}
        assert [renew(), renew()] == [True, False]
        assert dashboard.holder
        assert dashboard.holder.startswith(f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})#")
    assert dashboard.holder is None


def test_somebody_else_has_it(admin: AdminApi, dashboard: FakeDashboard) -> None:
    """They are named, as a person reads it."""
    dashboard.holder = f"you@{socket.gethostname()} (pid {os.getppid()})#1a2b"
    with pytest.raises(ClusterError) as caught, lease(admin, "demo"):
        raise AssertionError
    assert str(caught.value) == (
        f"demo is being changed by you@{socket.gethostname()} (pid {os.getppid()})\n"
        "  do     wait until it is done, then run it again\n  more   rayllm explain another-operator"
    )


def ended_process() -> int:
    """The pid of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("place", "taken"), [("here", True), ("elsewhere", False)], ids=["of this machine", "of another one"]
)
def test_from_a_process_that_was_killed(admin: AdminApi, dashboard: FakeDashboard, place: str, taken: bool) -> None:
    """It could not give it back; whether one on another machine lives, nobody here can know."""
    host = socket.gethostname() if place == "here" else "elsewhere"
    dashboard.holder = f"me@{host} (pid {ended_process()})#1a2b"
    if taken:
        with lease(admin, "demo"):
            assert dashboard.holder.endswith(f"(pid {os.getpid()})#" + dashboard.holder.rpartition("#")[2])
        return
    with pytest.raises(ClusterError, match="being changed by me@elsewhere"), lease(admin, "demo"):
        raise AssertionError


def test_a_gateway_that_is_busy_is_told_again(admin: AdminApi, dashboard: FakeDashboard) -> None:
    """Or the next command would wait for a right that nobody holds."""
    with lease(admin, "demo"):
        dashboard.disturbances.append(lambda handler: handler.answer(503))
    assert dashboard.holder is None
    assert dashboard.asked.count(RELEASE) == 2


def test_ctrl_c_while_it_is_asked_for(
    admin: AdminApi, dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may have been granted is given back."""
    ask = AdminApi.acquire

    def interrupted(self: AdminApi, holder: str, instead_of: str = "") -> str | None:
        ask(self, holder, instead_of)
        raise KeyboardInterrupt

    monkeypatch.setattr(AdminApi, "acquire", interrupted)
    with pytest.raises(KeyboardInterrupt), lease(admin, "demo"):
        raise AssertionError
    assert dashboard.asked[-1] == RELEASE
    assert dashboard.holder is None


def test_a_gateway_that_never_takes_it_back(admin: AdminApi, dashboard: FakeDashboard) -> None:
    """It is left to run out."""

    def refuses(handler: Handler) -> bool:
        return handler.answer(503)

    with lease(admin, "demo"):
        dashboard.disturbances.extend([refuses] * 10)
    assert dashboard.asked.count(RELEASE) == 3


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a user often has none."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert new_holder().startswith(f"user {os.getuid()}@")
    assert new_holder() != new_holder()
