"""The admin API on a real Unix socket, in front of a directory that is a plain object."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rayllm.serving.admin import LEASE_MAX_S, AdminApi
from rayllm.serving.directory.actor import Directory
from rayllm.serving.directory.state import ReplicaReport

TOKEN = "t0ken"


class Remote:
    """A method of an actor: `.remote(...)` is awaited."""

    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self.remote = method


class Handle:
    """An actor's handle, without an actor."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Remote:
        """The actor's method of that name."""

        async def call(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            return await getattr(self.directory, name)(*arguments)

        return Remote(call)


@asynccontextmanager
async def listening(path: Path, token: str | None = TOKEN) -> AsyncIterator[tuple[aiohttp.ClientSession, Handle]]:
    """The API and a client of it."""
    handle = Handle(Directory())
    admin = AdminApi("demo", handle, token)
    await admin.start(path)
    async with aiohttp.ClientSession("http://admin", connector=aiohttp.UnixConnector(str(path))) as session:
        yield session, handle
    await admin.stop()
    handle.directory._expiry.cancel()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """In an event loop, within a bound."""
    asyncio.run(asyncio.wait_for(test(), 20))


def bearer(token: str = TOKEN, header: str = "x-ray-authorization") -> dict[str, str]:
    """The headers with a token."""
    return {header: f"Bearer {token}"}


def test_only_who_has_the_token(tmp_path: Path) -> None:
    """In either header; and only this user gets as far."""

    async def test() -> None:
        path = tmp_path / "admin.sock"
        async with listening(path) as (session, handle):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            for headers in ({}, bearer("wrong"), bearer("t\xf6ken"), {"authorization": TOKEN}):
                answer = await session.get("/rayllm/v1/state", headers=headers)
                assert answer.status == 401
                assert TOKEN not in await answer.text()
            assert (await session.put("/rayllm/v1/lease", json={"holder": "me", "ttl_s": 30})).status == 401
            assert handle.asked == []
            for header in ("authorization", "x-ray-authorization"):
                assert (await session.get("/rayllm/v1/state", headers=bearer(header=header))).status == 200

    run(test)


def test_state_and_lease(tmp_path: Path) -> None:
    """As the directory has them."""

    async def test() -> None:
        async with listening(tmp_path / "admin.sock", None) as (session, handle):
            report = ReplicaReport(
                deployment="demo", model="m", replica="r", node="n", network="x", phase="ready", detail="", since=0.0,
                host="127.0.0.1", port=1, engine="toy", log="l",
            )  # fmt: skip
            await handle.directory.report(report)
            state = await (await session.get("/rayllm/v1/state")).json()
            assert (state["replicas"], state["failures"]) == ([report], {})
            for holder, status, owner in (("me", 200, "me"), ("you", 409, "me")):
                answer = await session.put("/rayllm/v1/lease", json={"holder": holder, "ttl_s": 1e9})
                assert (answer.status, (await answer.json())["holder"]) == (status, owner)
            assert handle.asked[-1] == ("acquire", "demo", "you", LEASE_MAX_S, "")
            assert (await session.delete("/rayllm/v1/lease", params={"holder": "me"})).status == 200
            answer = await session.put("/rayllm/v1/lease", json={"holder": "you", "ttl_s": 30})
            assert answer.status == 200

    run(test)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"holder": "me"}', '{"holder": "me", "ttl_s": "soon"}'])
def test_a_malformed_request(tmp_path: Path, body: str) -> None:
    """Told what is expected."""

    async def test() -> None:
        async with listening(tmp_path / "admin.sock", None) as (session, handle):
            answer = await session.put("/rayllm/v1/lease", data=body)
            assert (answer.status, (await answer.json())["error"]["type"]) == (400, "invalid_request_error")
            assert (await session.delete("/rayllm/v1/lease")).status == 400
            assert (await session.get("/rayllm/v1/nothing")).status == 404
            assert handle.asked == []

    run(test)


def test_it_listens_again_after_a_crash(tmp_path: Path) -> None:
    """What is left of the socket before is replaced."""

    async def test() -> None:
        (tmp_path / "admin.sock").touch()
        async with listening(tmp_path / "admin.sock", None) as (session, _):
            assert (await session.get("/rayllm/v1/state")).status == 200

    run(test)
