"""What observers are told, in which order, and that none of them can hold a command up or spoil it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.core.operator.conftest import TOKEN, OfCore, Open

from rayllm import Applied, Event, Removed
from rayllm.api import RayLLM
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import down, proposal, telling, watch
from rayllm.deployment.watch import ModelsFailedError
from rayllm.errors import InputError, RayllmError
from rayllm.testing.fake_dashboard import App, FakeDashboard

if TYPE_CHECKING:
    from tests.unit.core.conftest import Site

LOG = """
    from rayllm import hookimpl

    told = []

    @hookimpl
    def rayllm_event(event):
        told.append(event)
"""
WAYS_OUT = "   → upgrade or uninstall rayllm-bad; or leave it out: RAYLLM_PLUGINS_DISABLED=observer-bad"
BAD = {
    "raises": (
        LOG.replace("told.append(event)", "raise KeyError('channel')"),
        "KeyError: 'channel', at Removed (made_up_bad.py, line 8)",
    ),
    "exits": (
        LOG.replace("told.append(event)", "raise SystemExit(3)"),
        "SystemExit: 3, at Removed (made_up_bad.py, line 8)",
    ),
    "is a generator": (
        LOG.replace("told.append(event)", "yield event"),
        "rayllm_event() returned generator, where nothing is wanted, at Removed",
    ),
    "is a coroutine": (
        LOG.replace("def rayllm_event", "async def rayllm_event"),
        "rayllm_event() returned coroutine, where nothing is wanted, at Removed",
    ),
    "hangs": (
        LOG.replace("told.append(event)", "import threading; threading.Event().wait()"),
        "it was not done with Removed 0.2 s after the command",
    ),
    "says it in words": (
        LOG.replace("told.append(event)", "from rayllm import InputError; raise InputError('set $URL')"),
        "set $URL, at Removed",
    ),
}
SOURCE = """
    from rayllm import ModelSource, hookimpl

    @hookimpl
    def rayllm_model_sources():
        yield ModelSource(scheme="s", summary="", check=lambda uri: None, fetch=lambda *_: None)
"""
UNLOADED = {
    "missing import": ("raise ImportError('no slack')", "ImportError: no slack"),
    "forgotten mark": (LOG.replace("@hookimpl", ""), "rayllm_event lacks @hookimpl"),
    "argument that the hook lacks": (LOG.replace("(event)", "(event, color)"), "rayllm_event() asks for color, "),
    "it watches nothing": (SOURCE, 'it is called "observer-bad" and has no rayllm_event'),
    "it offers something": (
        SOURCE + LOG,
        'it offers source "s", and is called after an observer: give that an entry point of its own',
    ),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """Polls make no pause, code is a package of nothing, and there are eight cores."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0)
    monkeypatch.setattr(down, "POLL_S", 0)
    dashboard.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}]


Watched = Callable[..., RayLLM]


@pytest.fixture
def warnings() -> list[str]:
    """What a person was told of plugins."""
    return []


@pytest.fixture
def watched(opened: Open, site: Site, warnings: list[str]) -> Watched:
    """A deployment beside the plugins of the site."""

    def make(*capabilities: str) -> RayLLM:
        session = opened("name: demo\nmodels: {small: {engine: toy, source: file:/w}}", *capabilities)
        toy = session.plugins.engines["toy"]
        session.plugins = OfCore.discover(site.points(), disabled="", heard=warnings.append)
        session.plugins.engines["toy"] = toy
        return RayLLM(session)

    return make


def told(name: str = "log") -> list[Event]:
    """What the observer that keeps a list has heard."""
    heard: list[Event] = sys.modules[f"made_up_{name}"].told
    return heard


def named(events: list[Event]) -> list[dict[str, Any]]:
    """Events without their time."""
    return [{key: value for key, value in event.to_json().items() if key != "time"} for event in events]


def test_a_whole_life(watched: Watched, site: Site, dashboard: FakeDashboard, warnings: list[str]) -> None:
    """Plan, up, scale and down, in order; no token in any of it, and all of it is JSON."""
    site.add("log", LOG, point="observer-log")
    began = time.time()
    llm = watched()
    llm.plan()
    llm.up()
    llm.scale("small", 2)
    llm.down()
    kept = {"small": "add", "gateway": "add"}
    ready = {"event": "ModelReady", "deployment": "demo", "model": "small", "endpoint": f"{dashboard.url}/v1"}
    assert named(told()) == [
        {"event": "PlanMade", "deployment": "demo", "changes": kept, "stops": ()},
        {"event": "Applied", "deployment": "demo", "changes": kept},
        {**ready, "replicas": 1},
        {"event": "Scaled", "deployment": "demo", "model": "small", "replicas": 2},
        {**ready, "replicas": 2},
        {"event": "Removed", "deployment": "demo"},
    ]
    times = [event.time for event in told()]
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= time.time()
    assert TOKEN not in json.dumps([event.to_json() for event in told()])
    assert warnings == []


def test_a_model_that_fails(watched: Watched, site: Site, dashboard: FakeDashboard) -> None:
    """It is told with its cause, and after it that the command failed."""
    site.add("log", LOG, point="observer-log")
    dashboard.serve.does["demo--small"] = App("DEPLOY_FAILED", "RuntimeError: no memory", [])
    with pytest.raises(ModelsFailedError):
        watched().up()
    assert named(told())[1:] == [
        {
            "event": "ModelFailed",
            "deployment": "demo",
            "model": "small",
            "message": "small did not come up",
            "cause": "RuntimeError: no memory",
            "cure": "",
        },
        {
            "event": "CommandFailed",
            "deployment": "demo",
            "command": "up",
            "message": "1 of 1 models did not come up",
            "cause": "",
            "cure": "",
        },
    ]


def test_what_fails_before_it_begins(watched: Watched, site: Site) -> None:
    """The cluster is asked for something that it does not have."""
    site.add("log", LOG, point="observer-log")
    llm = watched()
    with pytest.raises(RayllmError):
        llm.scale("small", 2)
    assert [(event["event"], event["command"]) for event in named(told())] == [("CommandFailed", "scale")]


def test_a_mistake_is_no_event(watched: Watched, site: Site) -> None:
    """Nothing happened to the deployment."""
    site.add("log", LOG, point="observer-log")
    with pytest.raises(InputError):
        watched().scale("smal", 2)
    assert "made_up_log" not in sys.modules


def test_nothing_was_there_to_remove(watched: Watched, site: Site) -> None:
    """Then nothing is told of it, and the observer isn't even imported."""
    site.add("log", LOG, point="observer-log")
    assert not watched().down()
    assert "made_up_log" not in sys.modules


def test_an_observer_that_nobody_needs_is_not_imported(watched: Watched, site: Site) -> None:
    """Not by a look at all engines either; the first event does it."""
    site.add("log", LOG, point="observer-log")
    llm = watched()
    assert "other" not in llm.session.plugins.engines
    assert "made_up_log" not in sys.modules
    llm.plan()
    assert len(told()) == 1


def test_plugins_of_other_names_are_told_once_they_are_loaded(watched: Watched, site: Site) -> None:
    """And not imported for it."""
    site.add("used", LOG, point="engine-used")
    site.add("unused", LOG, point="engine-unused")
    llm = watched()
    toy = llm.session.plugins.engines["toy"]
    assert "used" not in llm.session.plugins.engines
    llm.session.plugins = OfCore.discover(site.points(), disabled="")
    llm.session.plugins.engines["toy"] = toy
    with pytest.raises(KeyError):
        llm.session.plugins.engines["used"]
    llm.plan()
    assert len(told("used")) == 1


def test_an_implementation_may_ask_for_less(watched: Watched, site: Site, warnings: list[str]) -> None:
    """So that a hook can gain arguments."""
    site.add("log", LOG.replace("(event)", "()").replace("append()", "append('it')"), point="observer-log")
    watched().plan()
    heard: list[Any] = list(told())
    assert (heard, warnings) == (["it"], [])


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_observer_costs_itself(
    fault: str, watched: Watched, site: Site, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command does its work, the others hear everything, and one line tells who, why and what to do."""
    monkeypatch.setattr(telling, "SETTLE_S", 0.2)
    source, cause = BAD[fault]
    site.add("bad", source, point="observer-bad")
    site.add("log", LOG, point="observer-log")
    llm = watched("create")
    assert llm.down()
    monkeypatch.setattr(telling, "SETTLE_S", 30)
    assert llm.down()
    assert [type(event) for event in told()] == [Removed, Removed]
    assert warnings == [f"plugin observer-bad (rayllm-bad 0.3.1) is told of no more events: {cause}{WAYS_OUT}"]


def test_a_command_goes_on_while_observers_work(watched: Watched, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that waits for its end would wait forever otherwise."""
    site.add("slow", LOG.replace("told.append(event)", "go.wait(); told.append(event)"), point="observer-slow")
    llm = watched()
    observers = telling.Observers(llm.session.plugins)
    events = [Applied(deployment="demo", changes={}), Removed(deployment="demo")]
    go = threading.Event()
    monkeypatch.setattr("builtins.go", go, raising=False)
    for event in events:
        observers.tell(event)
    assert told("slow") == []
    go.set()
    observers.settle()
    assert told("slow") == events


def test_ctrl_c_waits_for_nobody(watched: Watched, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no thread behind that waits for more events."""
    site.add("log", LOG, point="observer-log")
    llm = watched()
    monkeypatch.setattr(telling.Observers, "settle", lambda _: pytest.fail("it waited"))
    with pytest.raises(KeyboardInterrupt), telling.telling(llm.session, "up") as tell:  # noqa: PT012
        tell(Removed(deployment="demo"))
        raise KeyboardInterrupt
    for thread in threading.enumerate():
        if thread.name == "rayllm observer-log":
            thread.join(30)
            assert not thread.is_alive()
    assert len(told()) == 1


@pytest.mark.parametrize("fault", UNLOADED)
def test_an_observer_that_can_not_be_loaded(fault: str, watched: Watched, site: Site, warnings: list[str]) -> None:
    """It is left out as any plugin is, once, when the first event happens."""
    source, cause = UNLOADED[fault]
    site.add("bad", source, point="observer-bad")
    llm = watched()
    assert warnings == []
    llm.plan()
    llm.plan()
    (line,) = warnings
    assert line.startswith(f"plugin observer-bad (rayllm-bad 0.3.1) is left out: {cause}")


def test_every_event_is_frozen_and_says_what_it_is() -> None:
    """Also those that later versions add."""
    kinds = [kind for kind in vars(sys.modules["rayllm.events"]).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, Event):
            assert [field.name for field in fields(kind)][:2] == ["deployment", "time"]
            with pytest.raises(TypeError):
                kind("demo")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Removed(deployment="demo").deployment = "other"  # type: ignore[misc]
