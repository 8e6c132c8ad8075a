"""The API for event loops: the same methods, and what cancelling does."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.core.operator.conftest import Open

from rayllm import AsyncRayLLM, InputError, RayLLM
from rayllm.aio import AsyncKeys
from rayllm.cluster.bundle import Bundle
from rayllm.deployment import proposal, watch
from rayllm.deployment.keys import Keys
from rayllm.testing.fake_dashboard import App, FakeDashboard, Handler

ONE = "name: demo\nmodels: {small: {engine: toy, source: file:/weights/small}}"
REPLICA = {"model": "small", "replica": "r1", "node": "n1", "phase": "ready", "detail": "", "since": 1.0, "log": "l"}
PUBLIC = [name for name in vars(RayLLM) if not name.startswith("_")]
OTHER = {
    "openai.OpenAI": "openai.AsyncOpenAI",
    "RayLLM": "AsyncRayLLM",
    "Keys": "AsyncKeys",
    "Adapters": "AsyncAdapters",
    "Nodes": "AsyncNodes",
    "Generator[str, None, None]": "AsyncGenerator[str, None]",
    "Generator[ChatPart, None, None]": "AsyncGenerator[ChatPart, None]",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, dashboard: FakeDashboard) -> None:
    """Polls make no pause, and code is a package of nothing."""
    monkeypatch.setattr(proposal, "build", lambda _: Bundle("rayllm-0.zip", b""))
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    dashboard.nodes = [{"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 8.0}}]


@pytest.mark.parametrize("name", PUBLIC)
def test_both_have_the_same_methods(name: str) -> None:
    """With the same parameters, defaults and types; what takes a while is a coroutine or an asynchronous generator."""
    both = [inspect.getattr_static(kind, name) for kind in (RayLLM, AsyncRayLLM)]
    assert type(both[0]) is type(both[1])
    if isinstance(both[0], property):
        both = [one.fget for one in both]
    elif isinstance(both[0], classmethod):
        both = [one.__func__ for one in both]
    else:
        assert inspect.iscoroutinefunction(both[1]) or inspect.isasyncgenfunction(both[1])
    signatures = [inspect.signature(one) for one in both]
    assert signatures[0].parameters == signatures[1].parameters
    returns = str(signatures[0].return_annotation)
    assert signatures[1].return_annotation == OTHER.get(returns, returns)


def test_neither_has_more() -> None:
    """No method of one alone."""
    assert sorted(PUBLIC) == sorted(name for name in vars(AsyncRayLLM) if not name.startswith("_"))


def test_keys_have_the_same_methods() -> None:
    """Each a coroutine, with the same signature."""
    names = [name for name in vars(Keys) if not name.startswith("_")]
    assert names == [name for name in vars(AsyncKeys) if not name.startswith("_")]
    for name in names:
        assert inspect.iscoroutinefunction(getattr(AsyncKeys, name))
        assert inspect.signature(getattr(Keys, name)) == inspect.signature(getattr(AsyncKeys, name))


def test_what_they_return(opened: Open, dashboard: FakeDashboard) -> None:
    """From up to down, at the same time where that makes sense."""
    session = opened(ONE)
    told: list[tuple[str, int]] = []

    def progress(step: str, detail: str, *, done: bool = False) -> None:
        told.append((step, threading.get_ident()))

    async def live() -> None:
        llm = AsyncRayLLM(session)
        assert (llm.name, llm.config) == ("demo", RayLLM(session).config)
        assert (await llm.up(progress)).models["small"].state == "ready"
        assert set(told) == {("small", threading.get_ident()), ("gateway", threading.get_ident())}
        status, plan, config = await asyncio.gather(llm.status(), llm.plan(), llm.render())
        assert (status.models["small"].running, plan.has_changes) == (1, False)
        assert [app["name"] for app in config["applications"]] == ["demo--small", "demo--rayllm"]
        assert (await llm.model_status("small")).endpoint == f"{dashboard.url}/v1"
        with pytest.raises(InputError, match="did you mean"):
            await llm.model_status("smal")
        assert (await llm.scale("small", 2)).models["small"].running == 2
        dashboard.snapshot = {"replicas": [REPLICA], "failures": {}, "past": {}}
        dashboard.logs["l"] = "one\ntwo\n"
        assert await _all(llm.logs("small")) == await _all(llm.logs("small", "r", follow=True)) == "one\ntwo\n"
        assert await llm.down()
        assert not await llm.down()

    asyncio.run(live())


async def _all(texts: AsyncIterator[str]) -> str:
    return "".join([text async for text in texts])


def test_cancelling_gives_the_lease_back(opened: Open, dashboard: FakeDashboard) -> None:
    """The thread ends at its next step; what was deployed stays."""
    dashboard.serve.does["demo--small"] = App("DEPLOYING", replicas=[])
    dashboard.snapshot = {"replicas": [], "failures": {}, "past": {}}

    async def cancel() -> None:
        waits = asyncio.Event()

        def progress(step: str, detail: str, *, done: bool = False) -> None:
            if step == "small":
                waits.set()

        work = asyncio.create_task(AsyncRayLLM(opened(ONE)).up(progress))
        await asyncio.wait_for(waits.wait(), 10)
        assert dashboard.holder
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(cancel())  # waits for its threads
    assert dashboard.holder is None
    assert "demo--small" in dashboard.serve.told


def test_a_log_that_says_nothing_can_be_left(opened: Open, dashboard: FakeDashboard) -> None:
    """No thread waits for its next line."""
    session, stays = opened(ONE), threading.Event()

    def hang(handler: Handler) -> bool:
        if not handler.path.startswith("/api/v0/logs/stream"):
            dashboard.disturbances.append(hang)
            return False
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"one\n")
        handler.wfile.flush()
        return stays.wait(20)

    async def follow() -> None:
        await AsyncRayLLM(session).up()
        dashboard.snapshot = {"replicas": [REPLICA], "failures": {}, "past": {}}
        dashboard.disturbances.append(hang)
        first = asyncio.Event()

        async def read() -> None:
            async for _ in AsyncRayLLM(session).logs("small", follow=True):
                first.set()

        reader = asyncio.create_task(read())
        await asyncio.wait_for(first.wait(), 10)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader

    asyncio.run(asyncio.wait_for(follow(), 15))
    stays.set()


def test_without_the_openai_package(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said."""
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    for ask in (lambda llm: llm.openai(), lambda llm: asyncio.run(AsyncRayLLM(llm.session).openai())):
        with pytest.raises(InputError, match="the `openai` package is not installed\n  do     pip install openai"):
            _call(ask, RayLLM(opened(ONE)))


def _call(ask: Any, llm: RayLLM) -> None:
    ask(llm)
