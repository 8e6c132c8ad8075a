"""How applications are reached from outside: by host name, behind a login, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from rayllm_backend_cai.testing import applications
from rayllm_backend_cai.testing.faults import HTML
from rayllm_backend_cai.testing.route_helpers import world_of
from rayllm_backend_cai.testing.world import Item, World

HTTP = web.AppKey("http", aiohttp.ClientSession)
USER_HEADER = "REMOTE-USER"
_OF_THE_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "remote-user"),
}
"""Headers that are not passed on; the last one would be a lie of the client's."""


async def client(app: web.Application) -> AsyncIterator[None]:
    """What asks the pods, without a limit on time: what the platform's is, nobody has told."""
    timeout = aiohttp.ClientTimeout(total=None)
    connections = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, connector=connections) as http:
        app[HTTP] = http
        yield


def subdomain_of(request: web.Request) -> str | None:
    """The application's part of the host name; None for the workspace itself."""
    host = request.host.partition(":")[0].lower()
    domain = world_of(request).domain.partition(":")[0]
    first, _, rest = host.partition(".")
    return first if rest == domain else None


async def login(request: web.Request) -> web.Response:
    """The page that a browser's person would log in on."""
    del request
    return web.Response(text=HTML.format(status=200, reason="Log in"), content_type="text/html")


async def forward(request: web.Request, subdomain: str) -> web.StreamResponse:
    """The application's own answer, for who may have it."""
    world = world_of(request)
    found = applications.owner(world, subdomain)
    if found is None:
        return web.Response(status=404, text=HTML.format(status=404, reason="Not Found"), content_type="text/html")
    _, item = found
    user, mine = _user(world, request, item)
    if user is None:
        back = f"http://{request.host}{request.rel_url.raw_path_qs}"
        where = URL(f"http://{world.domain}/login").with_query(next=back)
        return web.Response(status=302, headers={"location": str(where)})
    live = item.workload if item.workload and item.workload.finished is None else None
    at = await live.pod.answering() if live else None
    if at is None:
        return web.Response(status=502)
    headers = _passed(request.headers)
    if mine:
        del headers["authorization"]
    if user:
        headers[USER_HEADER] = user
    headers["x-forwarded-proto"] = "https"
    # by its host name to the program, at its address to the network
    url = URL(f"http://{at[0]}:{at[1]}{request.rel_url.raw_path_qs}", encoded=True)
    if request.headers.get("upgrade", "").lower() == "websocket":
        return await _websocket(request, url, headers)
    return await _stream(request, url, headers)


def _user(world: World, request: web.Request, item: Item) -> tuple[str | None, bool]:
    """Who asks, None if that is not known well enough; and whether Authorization was meant for the ingress."""
    key = world.keys.get(request.headers.get("authorization", "").removeprefix("Bearer ").strip())
    if key and "Application" in key.audiences:
        return key.username, True
    if item.row["bypass_authentication"] and world.settings.public_applications:
        return "", False
    return None, False


async def _stream(request: web.Request, url: URL, headers: CIMultiDict[str]) -> web.StreamResponse:
    """Each piece as it comes."""
    body = request.content if request.body_exists else None
    asked = request.app[HTTP].request(request.method, url, headers=headers, data=body, allow_redirects=False)
    answer: web.StreamResponse | None = None
    try:
        async with asked as told:
            answer = web.StreamResponse(status=told.status, reason=told.reason, headers=_passed(told.headers))
            await answer.prepare(request)
            async for piece in told.content.iter_any():
                await answer.write(piece)
            await answer.write_eof()
    except aiohttp.ClientError:  # it ended before or while it answered
        if answer is None:
            return web.Response(status=502)
        if request.transport:
            request.transport.abort()  # an answer that has begun can only break off
    return answer


async def _websocket(request: web.Request, url: URL, headers: CIMultiDict[str]) -> web.StreamResponse:
    """Both ways, message by message."""
    asked = request.headers.get("sec-websocket-protocol", "")
    protocols = [one.strip() for one in asked.split(",") if one.strip()]
    for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
        del headers[name]
    try:
        inner = await request.app[HTTP].ws_connect(url, headers=headers, protocols=protocols, autoping=False)
    except aiohttp.WSServerHandshakeError as error:
        return web.Response(status=error.status)
    except aiohttp.ClientConnectionError:
        return web.Response(status=502)
    outer = web.WebSocketResponse(protocols=[inner.protocol] if inner.protocol else [], autoping=False)
    await outer.prepare(request)
    ways = [asyncio.ensure_future(_pump(outer, inner)), asyncio.ensure_future(_pump(inner, outer))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for side, other in ((inner, outer), (outer, inner)):
        await side.close(code=other.close_code or 1000)
    await asyncio.gather(*ways, return_exceptions=True)
    return outer


async def _pump(reading: Any, writing: Any) -> None:
    async for message in reading:
        if message.type == WSMsgType.TEXT:
            await writing.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await writing.send_bytes(message.data)
        elif message.type == WSMsgType.PING:
            await writing.ping(message.data)
        elif message.type == WSMsgType.PONG:
            await writing.pong(message.data)


def _passed(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Headers without those of one connection."""
    told = CIMultiDict(headers)
    named = {name.strip().lower() for one in told.getall("connection", []) for name in one.split(",")}
    for name in [name for name in told if name.lower() in _OF_THE_HOP | named]:
        told.popall(name, None)
    return told
