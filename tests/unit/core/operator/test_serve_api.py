"""Ray's dashboard over HTTP: what it is asked, and what a person is told when it does not answer as it should."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tests.unit.core.operator.conftest import TOKEN

from rayllm import Node
from rayllm.cluster.connection import TokenError, UnreachableError
from rayllm.cluster.serve_api import ServeApi
from rayllm.errors import ClusterError
from rayllm.testing.fake_dashboard import FakeDashboard, Handler

TOKEN_CURE = "give the token of this cluster: `ray get-auth-token` prints it on the head node"
LOGIN_CURE = "is this the dashboard's own address, and not that of a page to log in before it?"
AILING_CURE = "ask again in a moment; if it stays so, dashboard.log on the head node tells why"
DOWN_CURE = "is the cluster up, and is this the address of its dashboard (port 8265 by default)?"


def failure(ask: Callable[[], object], kind: type[ClusterError] = ClusterError) -> ClusterError:
    """The error of a question, which never names the token."""
    with pytest.raises(ClusterError) as caught:
        ask()
    assert type(caught.value) is kind
    assert TOKEN not in str(caught.value)
    return caught.value


def test_a_config_is_put_and_read_back(api: ServeApi, dashboard: FakeDashboard) -> None:
    """And what is missing from the next one is gone."""
    app = {"name": "demo--m", "deployments": [{"name": "engine"}]}
    assert api.details()["applications"] == {}
    api.put_config({"applications": [app]})
    assert api.details()["applications"]["demo--m"]["deployed_app_config"] == app
    api.put_config({"applications": []})
    assert api.details()["applications"] == {}
    assert dashboard.asked[1] == "PUT /api/serve/applications/"


def test_a_package_is_there_once_it_was_uploaded(api: ServeApi, dashboard: FakeDashboard) -> None:
    """404 is an answer, not an error."""
    assert not api.has_package("rayllm-1.zip")
    api.put_package("rayllm-1.zip", b"zip")
    assert api.has_package("rayllm-1.zip")
    assert dashboard.packages == {"rayllm-1.zip": b"zip"}


def test_nodes(api: ServeApi, dashboard: FakeDashboard) -> None:
    """Dead ones tell why; what Ray leaves out is empty."""
    dashboard.nodes = [
        {
            "node_id": "n1",
            "state": "ALIVE",
            "state_message": None,
            "node_ip": "10.0.0.1",
            "is_head_node": True,
            "resources_total": {"CPU": 4.0},
        },
        {"node_id": "n2", "state": "DEAD", "state_message": "spot instance taken back"},
    ]
    assert api.nodes() == [
        Node(id="n1", state="alive", address="10.0.0.1", head=True, resources={"CPU": 4.0}),
        Node(id="n2", state="dead", reason="spot instance taken back"),
    ]


def test_version(api: ServeApi) -> None:
    """Ray's own."""
    assert api.version()["ray_version"] == "2.60.0"


def test_logs(api: ServeApi, dashboard: FakeDashboard) -> None:
    """At once and followed; a file that is not there is told in Ray's words."""
    dashboard.logs["rayllm/demo--m.1.log"] = "one\ntwo\n"
    assert api.log("n1", "rayllm/demo--m.1.log", lines=-1) == "one\ntwo\n"
    assert "".join(api.follow_log("n1", "rayllm/demo--m.1.log", lines=10)) == "one\ntwo\n"
    for ask in (lambda: api.log("n1", "x", lines=1), lambda: list(api.follow_log("n1", "x", lines=1))):
        error = failure(ask, UnreachableError)
        assert error.message.startswith(f"{dashboard.url}/api/v0/logs/")
        assert error.message.endswith(" answered HTTP 500")
        assert error.cause == "no such file"


def test_a_wrong_token(dashboard: FakeDashboard) -> None:
    """The cure says where the right one is."""
    with ServeApi(dashboard.url, "wr0ng") as api:
        error = failure(api.version, TokenError)
    assert str(error) == (
        f"{dashboard.url} refused the cluster's token (HTTP 401)\n  do     {TOKEN_CURE}\n  more   rayllm explain token"
    )


def test_no_token(dashboard: FakeDashboard) -> None:
    """Nobody's token was refused."""
    with ServeApi(dashboard.url) as api:
        error = failure(api.version, TokenError)
    assert error.message == f"{dashboard.url} asks for a token, and there is none (HTTP 401)"


@pytest.mark.parametrize("token", ["line\nbreak", "sp ace", "umläut"])
def test_a_token_that_is_none(dashboard: FakeDashboard, token: str) -> None:
    """Told without it: the HTTP library's own error would name it."""
    error = failure(lambda: ServeApi(dashboard.url, token))
    assert error.message == "the cluster's token holds a space, a line break or a letter beyond ASCII"
    assert dashboard.asked == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://[::1", "an address of the cluster can't be read"),
        ("http://me:s3cret@ray:8265", "the address of ray has a user's name in it"),
    ],
)
def test_an_address_that_is_none(url: str, message: str) -> None:
    """A password in it is not repeated."""
    error = failure(lambda: ServeApi(url))
    assert error.message == message
    assert "s3cret" not in str(error)


def test_nobody_there(dashboard: FakeDashboard) -> None:
    """The system's own words are the cause."""
    dashboard.server_close()
    dashboard.shutdown()
    with ServeApi(dashboard.url, TOKEN) as api:
        error = failure(api.version, UnreachableError)
    assert error.message == f"Ray's dashboard does not answer at {dashboard.url}"
    assert error.cause
    assert "Connection refused" in error.cause
    assert error.cure == DOWN_CURE


def test_a_dashboard_that_hangs_up(api: ServeApi, dashboard: FakeDashboard) -> None:
    """It is asked once: what it did before it hung up is not known."""

    def hang_up(handler: Handler) -> bool:
        handler.close_connection = True
        return True

    dashboard.disturbances.append(hang_up)
    error = failure(lambda: api.put_config({"applications": []}), UnreachableError)
    assert error.cause == "Server disconnected without sending a response."
    assert dashboard.asked == ["PUT /api/serve/applications/"]


def test_a_dashboard_that_is_silent(dashboard: FakeDashboard) -> None:
    """Waited for within the bound."""
    done = threading.Event()
    dashboard.disturbances.append(lambda _: done.wait(10))
    with ServeApi(dashboard.url, TOKEN, timeout_s=0.1) as api:
        error = failure(api.version, UnreachableError)
    done.set()
    assert (error.message, error.cause) == (f"Ray's dashboard does not answer at {dashboard.url}", "timed out")


def test_a_controller_that_is_away(api: ServeApi, dashboard: FakeDashboard) -> None:
    """Ray's words are the cause; often it is back in a moment."""
    words = "Failed to get a response from the controller."
    dashboard.disturbances.append(lambda handler: handler.answer(503, words, "text/plain"))
    error = failure(api.details, UnreachableError)
    assert (
        str(error)
        == f"{dashboard.url}/api/serve/applications/ answered HTTP 503\n  cause  {words}\n  do     {AILING_CURE}"
    )


def test_a_config_that_serve_refuses(api: ServeApi, dashboard: FakeDashboard) -> None:
    """It would be refused again."""
    dashboard.disturbances.append(lambda handler: handler.answer(400, "1 validation error", "text/plain"))
    error = failure(lambda: api.put_config({}))
    assert (error.message, error.cause) == (
        f"{dashboard.url}/api/serve/applications/ answered HTTP 400",
        "1 validation error",
    )


def test_a_page_to_log_in(api: ServeApi, dashboard: FakeDashboard) -> None:
    """Answered with HTML, or sent elsewhere: this is not the dashboard."""
    dashboard.disturbances.append(lambda handler: handler.answer(200, "<html>Log in</html>", "text/html"))
    dashboard.disturbances.append(lambda handler: handler.answer(200, ["a", "list"]))
    dashboard.disturbances.append(lambda handler: handler.answer(302, "", "text/html"))
    error = failure(api.version)
    assert (error.message, error.cause, error.cure) == (
        f"{dashboard.url}/api/version did not answer with JSON, as Ray's dashboard does",
        "<html>Log in</html>",
        LOGIN_CURE,
    )
    assert failure(api.version).cause == '["a", "list"]'
    error = failure(api.version)
    assert (error.message, error.cause, error.cure) == (
        f"{dashboard.url}/api/version answered HTTP 302 with a web page",
        None,
        LOGIN_CURE,
    )


def test_another_program_at_the_dashboards_address(api: ServeApi, dashboard: FakeDashboard) -> None:
    """Its page is not shown: it says nothing about Ray."""
    dashboard.disturbances.append(lambda handler: handler.answer(404, "<html>Not Found</html>", "text/html"))
    assert str(failure(api.version)) == (
        f"{dashboard.url}/api/version answered HTTP 404 with a web page\n  do     {LOGIN_CURE}\n"
        "  more   rayllm explain cluster-unreachable"
    )
