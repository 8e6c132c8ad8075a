"""Adapters of a model that runs: what changes in Serve's config, what the plan tells, what is taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import Field
from tests.unit.core.operator.conftest import Open, Shown

from rayllm import Adapters, Options
from rayllm.api import RayLLM
from rayllm.cli.plan_text import added_lines, plan_lines
from rayllm.cluster.bundle import Bundle
from rayllm.config import load
from rayllm.deployment import proposal, watch
from rayllm.deployment.session import Session
from rayllm.errors import ClusterError, DeploymentError, InputError
from rayllm.testing.fake_dashboard import FakeDashboard, Json

FILE = """
name: demo
models:
  small: {engine: toy, source: file:/s, adapters: {sql: file:/sql}}
  large: {engine: toy, source: file:/l}
"""


class LoraOptions(Options):
    """Of an engine that takes adapters."""

    enable_lora: bool = False
    max_loras: int = Field(default=2, ge=1)
    rank: int = 16


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """Polls make no pause, code is a package of nothing, and there are eight cores."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0)
    dashboard.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}]


@pytest.fixture
def served(opened: Open, dashboard: FakeDashboard) -> Callable[..., RayLLM]:
    """Make the file's deployment, whose replicas do what Serve was told: all but for the adapters called `bad…`."""
    how = Adapters(load="/load", unload="/unload", room="max_loras", rank="rank", called="{model}:{adapter}")

    def make(text: str = FILE) -> RayLLM:
        session = opened()
        toy = replace(session.plugins.engines["toy"], options=LoraOptions, adapters=how, capabilities={"lora"})
        session.plugins.engines["toy"] = toy
        session.checked.path.write_text(text)
        session = Session(load(session.checked.path, session.plugins, {}), session.plugins)
        obey(dashboard)
        return RayLLM(session)

    return make


def obey(dashboard: FakeDashboard) -> None:
    """Let one replica of each model report what it was told to load."""
    dashboard.snapshot = {"failures": {}, "past": {}}

    def told(config: Json) -> Json:
        dashboard.snapshot = {"replicas": [report(app) for app in config["applications"]], "failures": {}, "past": {}}
        return config

    dashboard.before_puts.extend([told] * 20)


def report(app: Json) -> Json:
    """What a replica of an application says."""
    wanted = (app["deployments"][0].get("user_config") or {}).get("adapters") or {}
    adapters = {}
    for name, source in wanted.items():
        wrong = name.startswith("bad")
        said = {"message": "it is for another model", "cause": "16 and 8", "cure": "take another"} if wrong else {}
        state = {"source": source, "state": "failed" if wrong else "loaded", "at": 5.0}
        adapters[name] = {"message": "", "cause": "", "cure": "", **state, **said}
    named = {"model": app["name"].removeprefix("demo--"), "replica": f"{app['name']}-1", "node": "n1", "log": "l"}
    return {**named, "phase": "ready", "detail": "", "since": 1.0, "adapters": adapters}


def told(dashboard: FakeDashboard, model: str) -> Any:
    """What Serve was told of a model's adapters."""
    return dashboard.serve.told[f"demo--{model}"]["deployments"][0].get("user_config")


def test_up_brings_those_of_the_file(served: Callable[..., RayLLM], dashboard: FakeDashboard) -> None:
    """To the model's replicas and, as names, to the gateway; a model without any has nothing of them."""
    status = served().up()
    assert told(dashboard, "small") == {"adapters": {"sql": "file:/sql"}, "added": []}
    assert told(dashboard, "large") is None
    routes = told(dashboard, "rayllm")["models"]
    assert (routes["small"]["adapters"], routes["large"]["adapters"]) == ({"sql": "small:sql"}, {})
    sql = status.models["small"].adapters["sql"]
    assert (sql.state, sql.loaded, sql.replicas, sql.added) == ("loaded", 1, 1, False)


def test_one_is_added_beside_the_file(served: Callable[..., RayLLM], dashboard: FakeDashboard, shown: Shown) -> None:
    """The plan tells of it and has nothing to do; `up` keeps it; what the file names is never lost."""
    llm = served()
    llm.up()
    made = llm.adapters.add("poems", "file:/poems", model="small", progress=shown)
    assert (made.model, made.status.state, made.status.added) == ("small", "loaded", True)
    assert told(dashboard, "small") == {"adapters": {"poems": "file:/poems", "sql": "file:/sql"}, "added": ["poems"]}
    assert told(dashboard, "rayllm")["models"]["small"]["adapters"] == {"poems": "small:poems", "sql": "small:sql"}
    assert dashboard.holder is None
    plan = llm.plan()
    assert not plan.has_changes
    assert [line for line, _ in added_lines(plan.changes)] == [
        "      small.adapters.poems: file:/poems   (added by command, not in the file: it stays)"
    ]
    llm.up()
    assert [one.name for one in llm.adapters.list()] == ["poems", "sql"]
    gone = llm.adapters.remove("poems")
    assert (gone.name, gone.model, gone.status.source) == ("poems", "small", "file:/poems")
    assert told(dashboard, "small") == {"adapters": {"sql": "file:/sql"}, "added": []}


def test_what_the_file_names_comes_back(served: Callable[..., RayLLM], dashboard: FakeDashboard) -> None:
    """Removed or replaced by command, it is a change that restarts nothing."""
    llm = served()
    llm.up()
    llm.adapters.remove("sql")
    (change,) = [change for change in llm.plan().changes if change.kind == "change"]
    assert change.effect == "no restart"
    assert [line.strip() for line, _ in plan_lines([change])][1:] == ["adapters.sql: (not set) → file:/sql"]
    llm.up()
    llm.adapters.add("sql", "file:/newer", model="small")
    assert told(dashboard, "small") == {"adapters": {"sql": "file:/newer"}, "added": ["sql"]}
    (change,) = [change for change in llm.plan().changes if change.kind == "change"]
    assert [(one.before, one.after) for one in change.fields] == [("file:/newer", "file:/sql")]
    llm.up()
    assert told(dashboard, "small") == {"adapters": {"sql": "file:/sql"}, "added": []}


def test_one_of_the_file_that_is_added_again_is_the_files(
    served: Callable[..., RayLLM], dashboard: FakeDashboard
) -> None:
    """A file that no longer names an adapter takes it away; what a command brought stays, until its name is taken."""
    llm = served()
    llm.up()
    llm.adapters.add("sql", "file:/sql", model="small")
    assert told(dashboard, "small")["added"] == []
    llm.adapters.add("poems", "file:/poems", model="small")
    served(FILE.replace("{sql: file:/sql}", "{}").replace("file:/s,", "file:/s, options: {enable_lora: true},")).up()
    assert told(dashboard, "small")["adapters"] == {"poems": "file:/poems"}
    served(FILE.replace("{sql: file:/sql}", "{poems: file:/other}")).up()
    assert told(dashboard, "small") == {"adapters": {"poems": "file:/other"}, "added": []}


def test_one_that_fails_is_taken_back(served: Callable[..., RayLLM], dashboard: FakeDashboard) -> None:
    """By command; one of the file stays wanted, is told, and `up` ends with it."""
    llm = served()
    llm.up()
    before = told(dashboard, "small")
    with pytest.raises(
        DeploymentError, match=r"the adapter bad can't be served: it is for another model\n  cause  16 and 8"
    ):
        llm.adapters.add("bad", "file:/bad", model="small")
    assert told(dashboard, "small") == before
    llm = served(FILE.replace("sql: file:/sql", "sql: file:/sql, bad: file:/bad"))
    with pytest.raises(DeploymentError, match=r"✘ small  serves without the adapter bad: it is for another model"):
        llm.up()
    found = {one.name: one.status.state for one in llm.adapters.list()}
    assert found == {"bad": "failed", "sql": "loaded"}
    assert llm.status().models["small"].state == "ready"


def test_what_can_not_be_added(served: Callable[..., RayLLM], dashboard: FakeDashboard) -> None:
    """Nothing is changed, and the lease is given back."""
    llm = served()
    with pytest.raises(ClusterError, match="small is not deployed"):
        llm.adapters.add("a", "file:/a", model="small")
    llm.up()
    llm.adapters.add("poems", "file:/poems", model="small")
    before = told(dashboard, "small")
    for name, source, model, said in (
        ("more", "file:/more", "small", "small has 2 adapters, and a replica holds 2 at most"),
        ("more", "file:/more", "large", "large was deployed without adapters"),
        ("large", "file:/more", "small", "'large' is a model already"),
        ("sql", "file:/more", "large", "'sql' is an adapter of small in"),
        ("a/b", "file:/more", "small", "can't be an adapter's name"),
        ("gateway", "file:/more", "small", "can't be an adapter's name"),
        ("more", "fiel:/more", "small", "no source 'fiel'; did you mean \"file\""),
        ("more", "file:/more", None, "of which model?"),
        ("more", "file:/more", "smal", "no model 'smal'"),
    ):
        with pytest.raises(InputError) as caught:
            llm.adapters.add(name, source, model=model)
        assert said in str(caught.value)
        assert dashboard.holder is None
    with pytest.raises(InputError, match=r"there is no adapter 'poem'; did you mean \"poems\""):
        llm.adapters.remove("poem")
    assert told(dashboard, "small") == before


def test_too_many_with_those_that_were_added(served: Callable[..., RayLLM]) -> None:
    """The file alone fits, and says nothing of what came by command."""
    llm = served()
    llm.up()
    llm.adapters.add("poems", "file:/poems", model="small")
    llm = served(FILE.replace("sql: file:/sql", "sql: file:/sql, more: file:/more"))
    said = r"the file has 2 adapters of small, 1 more were added by command \(poems\), and a replica holds 2 at most"
    with pytest.raises(DeploymentError, match=said):
        llm.plan()


def test_somebody_else_puts_at_the_same_time(served: Callable[..., RayLLM], dashboard: FakeDashboard) -> None:
    """A PUT that was lost is made again; one that is lost every time is told."""
    llm = served()
    llm.up()
    dashboard.before_puts.appendleft(lambda _: None)
    llm.adapters.add("poems", "file:/poems", model="small")
    assert "poems" in told(dashboard, "small")["adapters"]
    dashboard.before_puts.extendleft([lambda _: None] * 3)
    with pytest.raises(ClusterError, match="somebody else keeps replacing"):
        llm.adapters.remove("poems")


def test_a_key_may_have_one_that_came_by_command(served: Callable[..., RayLLM]) -> None:
    """The file does not know it, the cluster does; what neither knows is refused."""
    llm = served()
    llm.up()
    llm.adapters.add("poems", "file:/poems", model="small")
    assert llm.keys.add("me", models=["poems", "sql", "small"]).name == "me"
    with pytest.raises(InputError, match="no model 'poem'"):
        llm.keys.add("you", models=["poem"])
