"""The directory's waiting: long polls and confirmations; and the keys made from the cluster's token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayllm.serving import where
from rayllm.serving.directory import actor
from rayllm.serving.directory.actor import Directory
from rayllm.serving.directory.state import ReplicaReport
from rayllm.serving.keys import internal_key, ray_token


def report(replica: str, phase: str = "ready") -> ReplicaReport:
    """A replica of model `m` of deployment `demo`."""
    return ReplicaReport(
        deployment="demo", model="m", replica=replica, node="n", network="x", phase=phase, detail="", since=0.0,
        host="127.0.0.1", port=1, engine="toy", log="l",
    )  # fmt: skip


@asynccontextmanager
async def directory() -> AsyncIterator[Directory]:
    """In this process."""
    made = Directory()
    yield made
    made._expiry.cancel()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """In an event loop, within a bound."""
    asyncio.run(asyncio.wait_for(test(), 20))


def test_it_is_on_the_head_node_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the gateway: elsewhere it would keep a worker, which nothing else is on, from being drained."""
    asked: dict[str, Any] = {}
    made = SimpleNamespace(options=lambda **told: asked.update(told) or SimpleNamespace(remote=lambda: "the actor"))
    monkeypatch.setattr("ray.remote", lambda _: made)
    assert actor.directory() == "the actor"
    assert asked["lifetime"] == "detached"
    assert list(asked["resources"]) == [where.HEAD]


def test_a_gateway_waits_for_the_next_version() -> None:
    """It gets it as soon as there is one, and what it knows when the time is up."""

    async def test() -> None:
        async with directory() as made:
            first = await made.watch("g", "demo", 0, 20)
            waiting = asyncio.create_task(made.watch("g", "demo", first["version"], 20))
            await made.report(report("r1", "starting"))
            assert not waiting.done()
            await made.report(report("r1"))
            second = await waiting
            assert second["version"] == first["version"] + 1
            assert [entry["replica"] for entry in second["replicas"]] == ["r1"]
            assert (await made.watch("g", "demo", second["version"], 0.05))["version"] == second["version"]

    run(test)


def test_leaving_waits_for_the_gateways() -> None:
    """Until all confirmed; a gateway that is silent is waited for a second."""

    async def test() -> None:
        async with directory() as made:
            await made.report(report("r1"))
            assert await made.leave("demo", "nobody")
            version = (await made.watch("g", "demo", 0, 20))["version"]
            waiting = asyncio.create_task(made.watch("g", "demo", version, 20))
            leaving = asyncio.create_task(made.leave("demo", "r1"))
            after = await waiting
            assert after["replicas"] == []
            confirming = asyncio.create_task(made.watch("g", "demo", after["version"], 20))
            assert await leaving
            confirming.cancel()
            await made.report(report("r2"))
            assert not await made.leave("demo", "r2")

    run(test)


def test_a_failure_is_seen_and_its_replica_gone() -> None:
    """In one step."""

    async def test() -> None:
        async with directory() as made:
            await made.report(report("r1"))
            await made.fail(report("r1"), "died", "why", "cure", "engine-died")
            snapshot = await made.snapshot("demo")
            assert snapshot["replicas"] == []
            assert snapshot["failures"]["m"]["cause"] == "why"

    run(test)


def test_the_token_is_found_where_ray_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And only where Ray asks for one."""
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert ray_token() is None
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert ray_token() == "from-file"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert ray_token() == "from-variable"


def test_each_model_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on every node, another for every name and token; the token is not in it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "one")
    keys = {internal_key("a", "m"), internal_key("a", "n"), internal_key("b", "m")}
    assert internal_key("a", "m") in keys
    monkeypatch.setenv("RAY_AUTH_TOKEN", "two")
    keys.add(internal_key("a", "m"))
    assert len(keys) == 4
    assert all(len(key) == 64 and "one" not in key for key in keys)


def test_two_processes_share_their_loopback() -> None:
    """As long as they are in one network namespace."""
    assert where.network_id() == where.network_id()
    assert "net:[" in where.network_id()
