"""How the gateway reaches each replica that the directory names, and what it lets clients ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from rayllm.engines import OPENAI_ENDPOINTS
from rayllm.serving import gateway_view
from rayllm.serving.directory.state import DirectoryState, ReplicaReport
from rayllm.serving.gateway_view import view_of
from rayllm.serving.haproxy.config import files, render
from rayllm.serving.haproxy.view import Upstream
from rayllm.serving.spec import GatewaySettings, GatewaySpec, RouteSettings

HERE = "boot:net"
PLAIN = RouteSettings(engine="e")


def report(replica: str, network: str, **more: Any) -> ReplicaReport:
    """A replica of the model `m` that is ready."""
    told: Any = {"deployment": "d", "model": "m", "replica": replica, "node": "n", "network": network, "since": 0.0}
    serving: Any = {"phase": "ready", "detail": "", "host": "127.0.0.1", "port": 20001, "engine": "e", "log": ""}
    return cast("ReplicaReport", told | serving | more)


@pytest.fixture
def view(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The view of a gateway that knows these replicas."""
    monkeypatch.setattr(gateway_view, "internal_key", lambda *_: "secret-key")
    monkeypatch.setattr(gateway_view, "ray_token", lambda: "token")

    def make(*reports: ReplicaReport, how: RouteSettings = PLAIN, **endpoints: list[str]) -> Any:
        directory = DirectoryState()
        for each in reports:
            directory.report(each)
        settings = GatewaySettings(models={"m": how}, endpoints=endpoints)
        told = GatewaySettings.from_user_config(settings.to_user_config())
        spec = GatewaySpec(deployment="d", host="127.0.0.1", port=8000, serve_port=8001)
        return view_of(spec, told, directory.snapshot("d"), HERE, run_dir=Path("/run"), keys=())

    return make


def test_ways(view: Any) -> None:
    """Here directly, there through the guard, and not at all where there is none."""
    made = view(report("a", HERE), report("b", "other", guard=("10.0.0.2", 20002)), report("c", "another"))
    (route,) = made.routes
    assert route.upstreams == (Upstream("a", "127.0.0.1", 20001), Upstream("b", "10.0.0.2", 20002, guarded=True))
    assert "secret-key" not in render(made)


def test_an_adapter_is_asked_where_it_is_loaded(view: Any) -> None:
    """Everywhere, at those that have it, at none; who can't be reached does not count, nor who still loads it."""

    def told(state: str) -> dict[str, Any]:
        return {"sql": {"source": "/sql", "state": state, "message": "", "cause": "", "cure": "", "at": 0.0}}

    def holders(*reports: ReplicaReport) -> Any:
        how = RouteSettings(engine="e", adapters={"sql": "m:sql"}, adapter_endpoints=["/v1/completions"])
        (route,) = view(*reports, how=how).routes
        (adapter,) = route.adapters
        assert (adapter.name, adapter.called, route.adapter_endpoints) == ("sql", "m:sql", ("/v1/completions",))
        return adapter.holders

    has, loads, none = told("loaded"), told("loading"), dict[str, Any]()
    assert holders(report("a", HERE, adapters=has), report("c", "another")) is None
    assert holders(report("a", HERE, adapters=has), report("b", HERE, adapters=loads)) == ("a",)
    assert holders(report("a", HERE, adapters=none), report("b", HERE)) == ()
    assert holders() is None


def test_only_a_model_with_a_guard_shows_its_key(view: Any) -> None:
    """The others' engines never see one."""
    shows = "set-header x-rayllm-internal-key %[str(m)"
    assert shows not in render(view(report("a", HERE)))
    assert shows in render(view(report("b", "other", guard=("10.0.0.2", 20002))))


def test_an_engines_own_endpoints(view: Any) -> None:
    """Beside those of every engine, for its models alone."""
    assert set(view(e=["/mine", "/all/"]).routes[0].endpoints) == OPENAI_ENDPOINTS | {"/mine", "/all/"}
    assert set(view(other=["/mine"]).routes[0].endpoints) == OPENAI_ENDPOINTS
    lists = {name: text for name, text in files(view(e=["/mine", "/all/"])).items() if name.startswith("endpoints")}
    below, exact = sorted(lists.values(), key=len)
    assert below == "/all/\n/v1/responses/\n"
    assert "/mine\n" in exact


@pytest.mark.parametrize("path", ["mine", "/a b", "/a\nb", "/a%20", ""])
def test_a_path_that_can_not_stand_in_a_list(view: Any, path: str) -> None:
    """It is refused, not written."""
    with pytest.raises(ValueError, match="path of an engine"):
        view(e=[path])
