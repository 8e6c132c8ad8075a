"""The admin API's part about API keys. A key is made on the operator's side; what comes here is its SHA-256."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from rayllm.errors import RayllmError
from rayllm.serving.key_limits import KeyLimits, is_digest, is_name
from rayllm.serving.records.key_record import KeyRecord
from rayllm.serving.records.keys import KeyConflictError, KeyStore

logger = logging.getLogger(__name__)
Done = TypeVar("Done")
_MOST_GRACE_S = 90 * 86_400


class KeysApi:
    """`/rayllm/v1/keys`: list, add, rotate, revoke, and the file's keys all at once.

    A change is answered when HAProxy goes by it.

    Args:
        store: the keys.
        apply: makes HAProxy go by what the store says.
    """

    def __init__(self, store: KeyStore, apply: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._apply = apply
        self._changing = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [
            web.get("/rayllm/v1/keys", self._list),
            web.put("/rayllm/v1/keys", self._bootstrap),
            web.post("/rayllm/v1/keys", self._add),
            web.delete("/rayllm/v1/keys/{name}", self._revoke),
            web.post("/rayllm/v1/keys/{name}/rotate", self._rotate),
        ]

    async def _list(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp's signature
        return web.json_response({"keys": [key.shown() for key in self._store.all()]})

    async def _bootstrap(self, request: web.Request) -> web.Response:
        told = (await _body(request)).get("keys")
        if not isinstance(told, dict) or not all(is_name(name) and is_digest(told[name]) for name in told):
            return _error(400, 'the keys of the file are told as {"keys": {NAME: SHA256}}')
        return await self._change(lambda: self._store.bootstrap(told), lambda _: {"keys": self._good()})

    async def _add(self, request: web.Request) -> web.Response:
        told = await _body(request)
        name, digest = told.get("name"), told.get("digest")
        if not isinstance(name, str) or not is_name(name) or not isinstance(digest, str) or not is_digest(digest):
            return _error(400, 'a key is added as {"name": NAME, "digest": SHA256} with its limits')
        try:
            limits = KeyLimits.from_json(told)
        except ValueError as wrong:
            return _error(400, str(wrong))
        return await self._change(lambda: self._store.add(name, digest, limits), KeyRecord.shown)

    async def _revoke(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return await self._change(lambda: self._store.revoke(name), KeyRecord.shown)

    async def _rotate(self, request: web.Request) -> web.Response:
        name, told = request.match_info["name"], await _body(request)
        digest, grace_s = told.get("digest"), told.get("grace_s", 0)
        if not isinstance(digest, str) or not is_digest(digest) or type(grace_s) is not int:
            return _error(400, 'a key is rotated with {"digest": SHA256, "grace_s": 3600}')
        if not 0 <= grace_s <= _MOST_GRACE_S:
            return _error(400, f"the grace is at most {_MOST_GRACE_S} s")
        return await self._change(lambda: self._store.rotate(name, digest, grace_s), KeyRecord.shown)

    def _good(self) -> int:
        return sum(not key.revoked for key in self._store.all())

    async def _change(self, change: Callable[[], Done], shown: Callable[[Done], dict[str, Any]]) -> web.Response:
        async with self._changing:
            try:
                done = await asyncio.to_thread(change)
            except KeyConflictError as conflict:
                return _error(409, str(conflict))
            except KeyError as missing:
                return _error(404, f"there is no key {missing.args[0]}")
            except (OSError, sqlite3.Error) as error:
                logger.exception("the keys can't be written")
                return _error(503, f"nothing was changed: the records can't be written ({error})")
            try:
                await self._apply()
            except (OSError, RayllmError) as error:
                logger.exception("HAProxy did not take a change of the keys")
                return _error(503, f"it is written down, and counts when HAProxy takes it; now it did not ({error})")
        return web.json_response(shown(done))


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        told = await request.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)
