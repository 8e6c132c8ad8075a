"""The workspace's one HTTP address: API, pages and the applications' ingress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from rayllm_backend_cai.testing import (
    ingress,
    routes_account,
    routes_files,
    routes_jobs,
    routes_projects,
    swagger,
)
from rayllm_backend_cai.testing.faults import HTML, Fault
from rayllm_backend_cai.testing.keys import key_of
from rayllm_backend_cai.testing.replies import NOT_FOUND, UNIMPLEMENTED, Refused, reply
from rayllm_backend_cai.testing.route_helpers import WORLD, world_of
from rayllm_backend_cai.testing.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BASE = "/api/v2"
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Asked:
    """One request to the API."""

    method: str
    path: str
    """Below /api/v2."""
    status: int
    """0 if the connection was broken instead."""


CALLS = web.AppKey("calls", list[Asked])


def application(world: World) -> web.Application:
    """All of it."""
    app = web.Application(middlewares=[_by_host, _told, _in_json, _open], client_max_size=MOST_BYTES)
    app[WORLD] = world
    app[CALLS] = []
    for module in (routes_projects, routes_jobs, routes_files, routes_account, swagger):
        app.add_routes(module.routes)
    app.router.add_get("/login", ingress.login)
    app.cleanup_ctx.append(ingress.client)
    return app


@web.middleware
async def _by_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An application's host leads to that; what is no API is a page."""
    if (subdomain := ingress.subdomain_of(request)) is not None:
        return await ingress.forward(request, subdomain)
    if request.path.startswith(BASE) or request.path == "/login":
        return await handler(request)
    return web.Response(status=404, text=HTML.format(status=404, reason="Not Found"), content_type="text/html")


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note what was asked, and let a fault happen to it."""
    path = request.rel_url.raw_path.removeprefix(BASE)
    fault = world_of(request).faults.take(request.method, path) or Fault()
    if fault.delay_s:
        if request.content_type == "application/json":
            await request.read()  # the client may be gone when it is needed
        await asyncio.sleep(fault.delay_s)
    answer: web.StreamResponse | None = None
    if fault.carried_out or not (fault.drop or fault.status):
        answer = await handler(request)
    if fault.status:
        answer = fault.answer()
    status = 0 if fault.drop or answer is None else answer.status
    request.app[CALLS].append(Asked(request.method, path, status))
    if fault.drop and request.transport:
        request.transport.abort()
    return answer or web.Response()


@web.middleware
async def _in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals as grpc-gateway writes them."""
    try:
        return await handler(request)
    except Refused as error:
        return reply(error.body(), error.status)
    except web.HTTPMethodNotAllowed:
        return reply(Refused(501, UNIMPLEMENTED, "Method Not Allowed").body(), 501)
    except web.HTTPNotFound:
        return reply(Refused(404, NOT_FOUND, "Not Found").body(), 404)
    except ConnectionError:
        raise  # who asked is gone
    except Exception as error:  # a mistake of the fake's own: told when it ends, since clients may get over a 500
        world_of(request).crashes.append(error)
        raise


@web.middleware
async def _open(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who shows a key with the audience API."""
    if request.path not in {swagger.PATH, "/login"}:
        key_of(request)
    return await handler(request)
