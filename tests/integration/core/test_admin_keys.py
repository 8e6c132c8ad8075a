"""The admin API's part about keys, on a real Unix socket with real records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rayllm.errors import ClusterError
from rayllm.serving.admin import AdminApi
from rayllm.serving.admin_keys import KeysApi
from rayllm.serving.records.keys import KeyStore

TOKEN = "t0ken"
A, B = "A" * 64, "B" * 64
Ask = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


def talk(folder: Path, test: Callable[[Ask, list[set[str]]], Awaitable[None]], refuses: bool = False) -> None:
    """Run a test with a way to ask, and what HAProxy was told at each change: the keys' names."""
    store, applied = KeyStore(folder / "records/demo.sqlite"), []

    async def apply() -> None:
        applied.append({rule.id for rule in store.rules({}, {})})
        if refuses:
            raise ClusterError("HAProxy does not want to")

    async def run() -> None:
        admin = AdminApi("demo", None, TOKEN, KeysApi(store, apply).routes())
        await admin.start(folder / "admin.sock")
        connector = aiohttp.UnixConnector(str(folder / "admin.sock"))
        async with aiohttp.ClientSession("http://admin", connector=connector) as session:

            async def ask(method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, dict[str, Any]]:
                headers = {"x-ray-authorization": f"Bearer {token}"}
                async with session.request(method, f"/rayllm/v1/{path}", json=body, headers=headers) as answer:
                    return answer.status, await answer.json()

            await test(ask, applied)
        await admin.stop()

    asyncio.run(asyncio.wait_for(run(), 20))
    store.close()


def test_the_life_of_a_key(tmp_path: Path) -> None:
    """Each change is at HAProxy before it is answered; digests never come back."""

    async def test(ask: Ask, applied: list[set[str]]) -> None:
        status, key = await ask("POST", "keys", {"name": "me", "digest": A, "models": ["m"], "tokens_per_day": 5})
        assert (status, key["name"], key["models"], key["revoked"], applied) == (200, "me", ["m"], None, [{"me"}])
        assert (await ask("POST", "keys/me/rotate", {"digest": B, "grace_s": 60}))[0] == 200
        assert (await ask("PUT", "keys", {"keys": {"one": A[:-1] + "0"}}))[0] == 200
        assert applied[1:] == [{"me"}, {"me", "one"}]
        status, found = await ask("GET", "keys")
        assert [(each["name"], each["from_file"]) for each in found["keys"]] == [("me", False), ("one", True)]
        assert A not in str(found)
        assert B not in str(found)
        assert (await ask("DELETE", "keys/me"))[1]["revoked"]
        assert applied[-1] == {"one"}

    talk(tmp_path, test)


def test_without_the_clusters_token(tmp_path: Path) -> None:
    """Nobody reads or changes keys."""

    async def test(ask: Ask, applied: list[set[str]]) -> None:
        for method, path in (("GET", "keys"), ("POST", "keys"), ("PUT", "keys"), ("DELETE", "keys/me")):
            assert (await ask(method, path, {}, token="another"))[0] == 401
        assert not applied

    talk(tmp_path, test)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "keys", {"name": "you", "digest": "the key itself"}, 400),
        ("POST", "keys", {"name": "a b", "digest": B}, 400),
        ("POST", "keys", {"name": "you", "digest": B, "requests_per_minute": 0}, 400),
        ("POST", "keys", ["no"], 400),
        ("POST", "keys", {"name": "me", "digest": B}, 409),
        ("POST", "keys", {"name": "you", "digest": A}, 409),
        ("PUT", "keys", {"keys": {"you": "short"}}, 400),
        ("PUT", "keys", {"keys": {"you": A}}, 409),
        ("PUT", "keys", {}, 400),
        ("DELETE", "keys/you", None, 404),
        ("POST", "keys/you/rotate", {"digest": B}, 404),
        ("POST", "keys/me/rotate", {"digest": "short"}, 400),
        ("POST", "keys/me/rotate", {"digest": B, "grace_s": -1}, 400),
        ("POST", "keys/me/rotate", {"digest": B, "grace_s": 1 << 40}, 400),
    ],
)
def test_what_is_refused(tmp_path: Path, method: str, path: str, body: object, status: int) -> None:
    """With words, and nothing changes."""

    async def test(ask: Ask, applied: list[set[str]]) -> None:
        await ask("POST", "keys", {"name": "me", "digest": A})
        found, answer = await ask(method, path, body)
        assert (found, bool(answer["error"]["message"]), len(applied)) == (status, True, 1)

    talk(tmp_path, test)


def test_haproxy_does_not_take_it(tmp_path: Path) -> None:
    """It is said that the change is kept, and not yet in force."""

    async def test(ask: Ask, applied: list[set[str]]) -> None:
        status, answer = await ask("POST", "keys", {"name": "me", "digest": A})
        assert (status, applied) == (503, [{"me"}])
        assert "HAProxy does not want to" in answer["error"]["message"]

    talk(tmp_path, test, refuses=True)
