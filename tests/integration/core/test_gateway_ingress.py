"""A gateway behind a platform's ingress: it listens where that says, and passes on what goes to Ray's dashboard."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.core.dashboard import TOKEN, Dashboard

from rayllm.serving.gateway_view import address_of, view_of
from rayllm.serving.haproxy.ingress import Ingress
from rayllm.serving.haproxy.process import HAProxy
from rayllm.serving.haproxy.view import GatewayView, ModelRoute
from rayllm.serving.run_dir import RunDir
from rayllm.serving.spec import GatewaySettings, GatewaySpec


@pytest.fixture
def ray() -> Iterator[Dashboard]:
    """A dashboard."""
    made = Dashboard()
    yield made
    made.close()


def behind(gateway: Any, ray: Dashboard, *routes: ModelRoute) -> GatewayView:
    """A gateway's view where a platform told both."""
    place = ("127.0.0.1", gateway.port)
    view: GatewayView = replace(gateway.view(*routes), ingress=Ingress(listen=place, dashboard=ray.place))
    return view


@pytest.mark.parametrize(
    "asked",
    [
        "GET /api/version",
        "GET /api/serve/applications/",
        "GET /api/packages/gcs/rayllm_0a1b.zip",
        "GET /api/v0/nodes?detail=1&limit=1000",
        "GET /api/v0/logs/file?node_id=1&filename=rayllm/demo--access.log&lines=5",
        "GET /nodes?view=summary",
        "POST /api/jobs/",
        "POST /api/jobs/rayllm-1/stop",
        "DELETE /api/jobs/rayllm-1",
    ],
)
def test_what_an_operator_asks(gateway: Any, ray: Dashboard, asked: str) -> None:
    """It comes to Ray without the prefix and with its token; what is for the ingress does not. No model is there."""
    gateway.haproxy.start(behind(gateway, ray))
    method, path = asked.split()
    own = {"authorization": "Bearer platform", "x-api-key": "key", "cookie": "ray-authentication-token=x"}
    status, told = gateway.ask(method, f"/rayllm/ray{path}", **TOKEN, **own)
    assert (status, told["asked"]) == (200, asked)
    assert told["headers"]["x-ray-authorization"] == "Bearer token"
    assert not told["headers"].keys() & own


@pytest.mark.parametrize(
    "path",
    ["/", "/api/actors", "/api/v0/tasks", "/api/jobs/../actors", "/api/jobs/%2e%2e/actors", "/logs/", "/nodes/1", "x"],
)
def test_nothing_else_of_the_dashboard(gateway: Any, ray: Dashboard, path: str) -> None:
    """Nor by a way out of a path that is open."""
    gateway.haproxy.start(behind(gateway, ray))
    assert gateway.ask("GET", f"/rayllm/ray/{path.removeprefix('/')}", **TOKEN)[0] == 404


def test_without_a_token(gateway: Any, ray: Dashboard) -> None:
    """Also where Ray itself would not ask for one; another kind of token is none."""
    gateway.haproxy.start(behind(gateway, ray))
    for headers in ({}, {"authorization": "Bearer token"}, {"x-ray-authorization": ""}):
        status, told = gateway.ask("GET", "/rayllm/ray/api/version", **headers)
        assert (status, told["error"]["code"]) == (401, "invalid_token")


def test_a_package_of_code(gateway: Any, ray: Dashboard) -> None:
    """Larger than what the gateway itself would read of a body."""
    gateway.haproxy.start(replace(behind(gateway, ray), max_body=1 << 20))
    package = random.Random(1).randbytes(5 << 20)  # noqa: S311  no secret
    status, told = gateway.ask("PUT", "/rayllm/ray/api/packages/gcs/a.zip", package, **TOKEN)
    assert (status, told["sha256"]) == (200, hashlib.sha256(package).hexdigest())


def test_a_log_comes_as_it_is_written(gateway: Any, ray: Dashboard) -> None:
    """The first line is here before there is a second, and a reload between both cuts nothing."""
    gateway.haproxy.start(behind(gateway, ray))
    with gateway.open("GET", "/rayllm/ray/api/v0/logs/stream?lines=1", **TOKEN) as stream:
        assert stream.readline() == b"one\n"
        gateway.haproxy.apply(behind(gateway, ray, ModelRoute("a", "k")))
        ray.gate.set()
        assert stream.read() == b"two\n"


def test_where_nothing_was_told(gateway: Any) -> None:
    """The path is one of the admin API, which is not there either."""
    gateway.haproxy.start(gateway.view())
    assert gateway.ask("GET", "/rayllm/ray/api/version", **TOKEN)[0] == 503


def test_a_dashboard_that_is_gone(gateway: Any, ray: Dashboard) -> None:
    """Who asks is told to come again; models go on."""
    gateway.haproxy.start(behind(gateway, ray))
    ray.close()
    status, told = gateway.ask("GET", "/rayllm/ray/api/version", **TOKEN)
    assert (status, told["error"]["message"]) == (503, "Ray's dashboard does not answer")
    assert gateway.ask("GET", "/health") == (200, {})


def test_without_a_token_of_the_cluster_the_admin_api_is_closed(gateway: Any, ray: Dashboard) -> None:
    """Whom the ingress lets in comes from this machine, whoever it is."""
    for ingress, status in ((Ingress(), 503), (Ingress(listen=("127.0.0.1", gateway.port), dashboard=ray.place), 403)):
        gateway.haproxy.apply(replace(gateway.view(), admin_guarded=False, ingress=ingress))
        assert gateway.ask("GET", "/rayllm/v1/keys", **TOKEN)[0] == status
    assert gateway.ask("GET", "/rayllm/ray/api/version", **TOKEN)[0] == 403


def test_the_platforms_header_is_no_api_key(gateway: Any, upstream: Any, ray: Dashboard) -> None:
    """Where no key is asked for, what the ingress has left in `authorization` keeps nobody out."""
    gateway.haproxy.start(behind(gateway, ray, ModelRoute("a", "k", (upstream("a1").route,))))
    status, _ = gateway.ask("POST", "/v1/chat/completions", {"model": "a"}, authorization="Bearer platform")
    assert status == 200


def test_the_log_has_no_token(gateway: Any, ray: Dashboard) -> None:
    """A line for each request, with its path alone."""
    gateway.haproxy.start(behind(gateway, ray))
    gateway.ask("GET", "/rayllm/ray/api/v0/nodes?detail=1", **{"x-ray-authorization": "Bearer s3cret"})
    gateway.until(lambda: gateway.access.read_text().endswith("\n"))
    assert json.loads(gateway.access.read_text())["path"] == "/rayllm/ray/api/v0/nodes"
    assert "s3cret" not in gateway.access.read_text() + gateway.log.read_text()
    assert not any("s3cret" in os.fsdecode(file.read_bytes()) for file in gateway.run_dir.iterdir() if file.is_file())


def test_its_next_owner_finds_it_there(gateway: Any, ray: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that was killed left a HAProxy at the platform's address, not at the file's: the next one goes on."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token")
    spec = GatewaySpec(deployment=gateway.deployment, host="127.0.0.9", port=8000, serve_port=gateway.serve_port)
    told = Ingress(listen=("127.0.0.1", gateway.port), dashboard=ray.place)

    def live() -> tuple[RunDir, HAProxy]:
        place = RunDir(spec.deployment, *address_of(spec, told))
        view = view_of(spec, GatewaySettings(models={}), None, "", run_dir=place.path, keys=(), ingress=told)
        haproxy = HAProxy(gateway.log, gateway.access, place.keeping)
        haproxy.apply(view)
        return place, haproxy

    place, haproxy = live()
    before = gateway.haproxies()
    place._lock.close()
    haproxy._keeping._line.close()  # type: ignore[union-attr]
    haproxy._claim.release()  # type: ignore[union-attr]
    place, haproxy = live()
    try:
        assert gateway.haproxies() == before
        assert gateway.ask("GET", "/rayllm/ray/api/version", **TOKEN)[0] == 200
    finally:
        haproxy.stop(0)
        place.remove()
