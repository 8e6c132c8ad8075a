"""The admin API: HTTP on a Unix socket of the gateway's actor, behind HAProxy under /rayllm/."""

from __future__ import annotations

import hmac
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LEASE_MAX_S = 120.0


class AdminApi:
    """`GET /rayllm/v1/state`, `PUT` and `DELETE /rayllm/v1/lease`: for whoever has the cluster's token.

    Args:
        deployment: whose it is.
        directory: who serves it.
        token: the cluster's; None where it asks for none.
        routes: what else is answered.
    """

    def __init__(self, deployment: str, directory: Any, token: str | None, routes: Iterable[web.RouteDef] = ()) -> None:
        self._deployment = deployment
        self._directory = directory
        self._token = token
        self._routes = tuple(routes)
        self._runner: web.AppRunner | None = None
        self._folder = -1

    async def start(self, path: Path) -> None:
        """Listen on the Unix socket `path`, which only this user may open."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/rayllm/v1/state", self._state)
        app.router.add_put("/rayllm/v1/lease", self._acquire)
        app.router.add_delete("/rayllm/v1/lease", self._release)
        app.router.add_routes(self._routes)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        path.unlink(missing_ok=True)
        # Through a descriptor of the folder: the path of a socket has at most 107 bytes, the folder's may have more.
        self._folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        await web.UnixSite(self._runner, f"/proc/self/fd/{self._folder}/{path.name}").start()
        path.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()
            os.close(self._folder)
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        sent = str(request.headers.get("x-ray-authorization") or request.headers.get("authorization") or "")
        wanted = f"Bearer {self._token}"
        if self._token is not None and not hmac.compare_digest(sent.encode(), wanted.encode()):
            return _error(401, "the admin API needs the cluster's token")
        return await handler(request)

    async def _state(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp's signature
        return web.json_response(await self._directory.snapshot.remote(self._deployment))

    async def _acquire(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            asker, ttl_s, dead = str(body["holder"]), float(body["ttl_s"]), str(body.get("instead_of") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, 'a lease is asked for with {"holder": "who", "ttl_s": 30}')
        ttl_s = max(0.0, min(ttl_s, LEASE_MAX_S))
        holder = await self._directory.acquire.remote(self._deployment, asker, ttl_s, dead)
        return web.json_response({"holder": holder}, status=200 if holder == asker else 409)

    async def _release(self, request: web.Request) -> web.Response:
        if not (holder := request.query.get("holder")):
            return _error(400, "a lease is given back with ?holder=who")
        await self._directory.release.remote(self._deployment, holder)
        return web.json_response({})


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=status)
