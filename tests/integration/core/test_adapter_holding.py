"""A replica brings its engine to hold what is wanted: with an engine that only remembers, and no files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rayllm import Adapters, DeploymentError, InputError
from rayllm.serving.adapters import holding
from rayllm.serving.adapters.holding import Holding

ENGINE = Adapters(load="/load", unload="/unload", room="r", rank="r", called="{model}:{adapter}")


class Engine:
    """The client of one."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.did: list[str] = []
        self.broken: set[str] = set()

    async def change(self, path: str, body: Mapping[str, str], timeout_s: float) -> None:  # noqa: ARG002
        """Load or unload."""
        name = body["lora_name"]
        self.did.append(f"{path} {name}")
        if path == "/load" and (name in self.broken or name in self.held):
            raise DeploymentError("the engine refuses (HTTP 400)", cause="no")
        if path == "/load":
            self.held[name] = body["lora_path"]
        else:
            del self.held[name]

    async def served_models(self) -> list[str]:
        """The model and what it holds."""
        return ["m", *self.held]

    async def try_one_token(self, model: str, timeout_s: float) -> None:  # noqa: ARG002
        """Fail where it is told to."""
        self.did.append(f"ask {model}")
        if model.partition(":")[2] + "!" in self.broken:
            raise aiohttp.ClientConnectionError(model)


class Bench:
    """One replica's adapters, and what it told of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(holding, "require_fit", lambda *_: None)
        self.engine = Engine()
        self.missing: set[str] = set()
        self.told: list[dict[str, str]] = []
        self.last: dict[str, Any] = {}
        self.all_loaded = asyncio.Event()
        client: Any = self.engine
        self.holding = Holding(
            ENGINE, client, model="m", folder=Path("/m"), highest=16, fetch=self.fetch, tell=self.tell
        )

    def fetch(self, source: str, report: Any) -> Path:
        """The path, unless it is missing."""
        report(f"fetching {source}")
        if source in self.missing:
            raise InputError(f"there is no {source}", cure="lay it there")
        return Path(source)

    async def tell(self, told: Mapping[str, Any]) -> None:
        """Remember it."""
        self.last = {name: dict(one) for name, one in told.items()}
        states = {name: one["state"] for name, one in told.items()}
        if set(states.values()) == {"loaded"}:
            self.all_loaded.set()
        if states not in self.told[-1:]:
            self.told.append(states)

    async def loaded(self) -> None:
        """Wait until all are."""
        await self.all_loaded.wait()

    async def settle(self, **wanted: str) -> dict[str, str]:
        """Want these, wait, and see what is told of each."""
        self.holding.want(wanted)
        await self.holding.settled()
        return {name: one["state"] for name, one in self.last.items()}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """With an engine that holds nothing."""
    return Bench(monkeypatch)


def test_what_is_wanted_is_loaded_and_asked(bench: Bench) -> None:
    """One after the other, by the name that the engine knows."""

    async def run() -> None:
        assert await bench.settle(a="/a", b="/b") == {"a": "loaded", "b": "loaded"}
        assert bench.engine.did == ["/load a", "ask m:a", "/load b", "ask m:b"]
        assert bench.told == [{"a": "loading"}, {"a": "loaded"}, {"a": "loaded", "b": "loading"}, bench.told[-1]]
        assert await bench.settle(b="/b") == {"b": "loaded"}
        assert bench.engine.held == {"b": "/b"}
        bench.holding.stop()

    asyncio.run(run())


def test_another_source_takes_the_place(bench: Bench) -> None:
    """The gateways know that it is gone before it is."""

    async def run() -> None:
        await bench.settle(a="/a")
        bench.engine.did.clear()
        assert await bench.settle(a="/other") == {"a": "loaded"}
        assert bench.engine.did == ["/unload a", "/load a", "ask m:a"]
        assert bench.told[-3:] == [{}, {"a": "loading"}, {"a": "loaded"}]
        bench.holding.stop()

    asyncio.run(run())


def test_one_that_fails_is_told_and_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its words; the others are loaded, and it too as soon as it can be."""
    monkeypatch.setattr(holding, "RETRY_S", 0.02)
    bench.missing, bench.engine.broken = {"/a"}, {"b"}

    async def run() -> None:
        assert await bench.settle(a="/a", b="/b", c="/c") == {"a": "failed", "b": "failed", "c": "loaded"}
        assert (bench.last["a"]["message"], bench.last["a"]["cure"]) == ("there is no /a", "lay it there")
        assert bench.last["b"]["cause"] == "no"
        bench.missing, bench.engine.broken = set(), set()
        await asyncio.wait_for(bench.loaded(), 10)
        bench.holding.stop()

    asyncio.run(run())


def test_one_that_does_not_answer_is_unloaded_before_the_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine would not load it twice."""
    monkeypatch.setattr(holding, "RETRY_S", 0.02)
    bench.engine.broken = {"a!"}

    async def run() -> None:
        assert await bench.settle(a="/a") == {"a": "failed"}
        assert "did not answer for the adapter a" in bench.last["a"]["message"]
        bench.engine.broken = set()
        await asyncio.wait_for(bench.loaded(), 10)
        assert bench.engine.did[-3:] == ["/unload a", "/load a", "ask m:a"]
        bench.holding.stop()

    asyncio.run(run())
