"""A platform's ingress before the cluster: what it is shown with every request, and what is told of its own answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from tests.unit.core.operator.conftest import TOKEN, MemoryBackend, Open

from rayllm import AsyncRayLLM, Cluster, RayLLM
from rayllm.api import client_options
from rayllm.cli.up import up
from rayllm.cluster.admin_api import AdminApi
from rayllm.cluster.bundle import Bundle
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.jobs_api import JobsApi
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment import proposal, watch
from rayllm.deployment.chat import question
from rayllm.errors import ClusterError
from rayllm.testing.fake_dashboard import FakeDashboard, Handler

LOGIN = "Bearer pl4tform"
KEY = "k3y"
ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/w}}\n"
KEYED = ONE + "gateway: {keys: required}\n"
ASKED = [{"role": "user", "content": "hi"}]
ANSWER = 'data: {"choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n'
PAGE = "<html>not for you</html>"


@pytest.fixture
def dashboard() -> Iterator[FakeDashboard]:
    """Below a path, behind an ingress that takes `Authorization` away."""
    with FakeDashboard(TOKEN, path="/rayllm/ray", ingress=LOGIN) as server:
        server.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}]
        yield server


@pytest.fixture
def cluster(dashboard: FakeDashboard) -> Cluster:
    """What a backend says of it."""
    return Cluster(
        name="demo",
        dashboard_url=dashboard.dashboard_url,
        gateway_url=dashboard.url,
        token=TOKEN,
        headers={"authorization": LOGIN, "x-team": "a"},
        shown_headers={"authorization": "Bearer $PLATFORM_KEY"},
    )


@pytest.fixture
def llm(opened: Open, monkeypatch: pytest.MonkeyPatch) -> RayLLM:
    """A deployment whose endpoint wants a key; code is a package of nothing."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0)
    return RayLLM(opened(KEYED, environ={"RAYLLM_API_KEY": KEY}))


def test_every_request_shows_it(llm: RayLLM, dashboard: FakeDashboard, cluster: Cluster) -> None:
    """The dashboard's, below its path, the jobs', the admin API's and the endpoint's; each with its own secret."""
    llm.up()
    llm.keys.add("ann")
    llm.nodes.list()
    assert not llm.plan().has_changes
    with JobsApi.of(cluster) as jobs:
        jobs.submit("j1", "true", "gcs://x")
        assert jobs.job("j1")[0] == "SUCCEEDED"
    dashboard.disturbances.append(lambda handler: handler.answer(200, ANSWER, "text/event-stream"))
    assert [part.text for part in llm.chat(ASKED)] == ["hi"]
    assert {(shown["authorization"], shown["x-team"]) for shown in dashboard.sent} == {(LOGIN, "a")}
    *others, chat = zip(dashboard.asked, dashboard.sent, strict=True)
    assert {shown["x-ray-authorization"] for _, shown in others} == {f"Bearer {TOKEN}"}
    assert {path.split(" ")[1].split("/")[2] for path, _ in others} == {"ray", "v1"}
    assert (chat[0], chat[1]["x-api-key"]) == ("POST /v1/chat/completions", KEY)
    assert "x-ray-authorization" not in chat[1]


def test_asynchronously(llm: RayLLM, dashboard: FakeDashboard, cluster: Cluster) -> None:
    """The chat, and a log that is followed."""

    async def live() -> list[str]:
        with ServeApi.of(cluster) as api:
            texts = [text async for text in api.follow_log_async("n1", "l", lines=1)]
        return texts + [part.text async for part in AsyncRayLLM(llm.session).chat(ASKED)]

    dashboard.logs["l"] = "one\n"
    asked = len(dashboard.asked)
    dashboard.disturbances.extend([lambda _: False, lambda handler: handler.answer(200, ANSWER, "text/event-stream")])
    assert asyncio.run(live()) == ["one\n", "hi"]
    assert [shown["authorization"] for shown in dashboard.sent[asked:]] == [LOGIN, LOGIN]


def test_the_official_client_shows_both_keys(llm: RayLLM, opened: Open) -> None:
    """Its own key is the ingress's, since it shows that as `Authorization`; the endpoint's stands beside."""
    shown = {"Authorization": LOGIN, "x-team": "a"}
    options = client_options(llm.session, {}, httpx.Client)
    assert (options["api_key"], options["default_headers"]) == ("pl4tform", {**shown, "x-api-key": KEY})
    own = client_options(llm.session, {"api_key": "mine", "default_headers": {"x-team": "b"}}, httpx.Client)
    assert (own["api_key"], own["default_headers"]) == ("pl4tform", {**shown, "x-api-key": "mine", "x-team": "b"})
    open_one = client_options(opened(ONE), {}, httpx.Client)
    assert (open_one["api_key"], open_one["default_headers"]) == ("pl4tform", shown)


def test_no_secret_is_told(llm: RayLLM, cluster: Cluster) -> None:
    """By what holds it."""
    for told in (repr(cluster), repr(question(llm.session, ASKED, None, None, None)), str(llm.status().to_json())):
        assert "pl4tform" not in told
        assert TOKEN not in told


def test_the_curl_that_is_printed(
    llm: RayLLM, dashboard: FakeDashboard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a person writes it in a shell."""
    monkeypatch.setattr("rayllm.cli.opening.open_file", lambda *_, **__: llm)
    up(Path("rayllm.yaml"))
    assert (
        f"  curl {dashboard.url}/v1/chat/completions -H 'content-type: application/json'"
        ' -H "authorization: Bearer $PLATFORM_KEY" -H "x-api-key: $RAYLLM_API_KEY" -d '
    ) in capsys.readouterr().out


@pytest.mark.parametrize("value", ["Bearer line\nbreak", "Bearer umläut"])
def test_what_can_stand_in_no_header(cluster: Cluster, value: str) -> None:
    """Told without it: the HTTP library's own error would name it."""
    with pytest.raises(ClusterError, match="what the platform's ingress is to see as authorization holds") as caught:
        ServeApi(cluster.dashboard_url, TOKEN, ingress={"authorization": value})
    assert value[7:] not in str(caught.value)


def answered(status: int, body: object = "", kind: str = "text/html") -> Callable[[Handler], bool]:
    """What the ingress does instead."""
    return lambda handler: handler.answer(status, body, kind)


WAYS = [
    (302, "", "does not let this machine through to", "it asks for a log-in"),
    (200, PAGE, "does not let this machine through to", "it asks for a log-in"),
    (401, PAGE, "does not let this machine through to", "it refuses the key"),
    (403, "", "does not let this machine through to", "it refuses the key"),
    (404, PAGE, "leads http", "has no application at this address"),
    (502, "", "nobody answers behind the platform's ingress", "the program on the head node does not run"),
]


@pytest.mark.parametrize(("status", "body", "message", "cause"), WAYS)
def test_what_the_ingress_answers_itself(
    llm: RayLLM, cluster: Cluster, dashboard: FakeDashboard, *, status: int, body: str, message: str, cause: str
) -> None:
    """By the dashboard's client, the admin API's and a chat: it is the ingress, and no token of Ray's is wrong."""

    def ask_ray() -> None:
        with ServeApi.of(cluster) as api:
            api.version()

    def follow() -> None:
        with ServeApi.of(cluster) as api:
            list(api.follow_log("n1", "l", lines=1))

    def ask_admin() -> None:
        with closing(AdminApi(cluster)) as admin:
            admin.ask("GET", "/keys")

    def chat() -> None:
        list(llm.chat(ASKED))

    asks = [ask_ray, ask_admin] if status == 200 else [ask_ray, follow, ask_admin, chat]
    for ask in asks:
        dashboard.disturbances.clear()
        dashboard.disturbances.extend([answered(status, body)] * 2)  # a chat that nobody answers asks the cluster why
        with pytest.raises(ClusterError) as caught:
            ask()
        assert message in caught.value.message
        assert f"(HTTP {status})" in caught.value.message
        assert cause in str(caught.value.cause)
        assert caught.value.topic == "ingress"
        assert isinstance(caught.value, UnreachableError) == (status == 502)
        assert not {"pl4tform", TOKEN, KEY} & set(str(caught.value).split())


def test_what_the_cluster_answers_is_no_ingress(cluster: Cluster, dashboard: FakeDashboard) -> None:
    """Ray's own refusal of its token, and its own troubles, are told as they are."""
    with ServeApi.of(cluster) as api:
        dashboard.disturbances.append(answered(403, "Forbidden: Invalid authentication token", "text/plain"))
        with pytest.raises(ClusterError, match=r"rayllm/ray refused the cluster's token \(HTTP 403\)"):
            api.version()
        dashboard.disturbances.append(answered(500, "a traceback", "text/plain"))
        with pytest.raises(ClusterError, match=r"rayllm/ray/api/version answered HTTP 500\n  cause  a traceback"):
            api.version()
        dashboard.disturbances.append(answered(200, ["a list"], "application/json"))
        with pytest.raises(ClusterError, match=r"rayllm/ray/api/version did not answer with JSON"):
            api.version()


def test_a_login_that_runs_out(llm: RayLLM, cluster: Cluster) -> None:
    """Whatever is asked."""
    assert isinstance(llm.session.backend, MemoryBackend)
    llm.session.backend.cluster = Cluster(
        name="demo",
        dashboard_url=cluster.dashboard_url,
        gateway_url=cluster.gateway_url,
        headers={"authorization": "x"},
    )
    for ask in (llm.status, llm.plan, llm.keys.list, llm.nodes.list, lambda: list(llm.chat(ASKED))):
        with pytest.raises(ClusterError, match="the platform's ingress does not let this machine through"):
            ask()
