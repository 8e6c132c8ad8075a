"""One request from Serve's proxy to the engine of this replica: the slow path.

The gateway takes it while a model has no replica that it reaches itself. Where there is no gateway, for want of a
HAProxy, whoever has the cluster's token may.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rayllm.serving.engine.client import EngineClient
from rayllm.serving.spec import INTERNAL_KEY_HEADER

_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization"}
    | {"te", "trailers", "transfer-encoding", "upgrade"}
)
_DROP_REQUEST = _HOP | {"host", "accept-encoding", "authorization", "content-length", INTERNAL_KEY_HEADER}
_CLOSED = (
    "this address is for RayLLM's gateway; use the gateway's, or where there is none show the cluster's token: "
    "Authorization: Bearer TOKEN"
)
_UPWARDS = frozenset({".", ".."})
_IN_PATH = "/:@!$&'()*+,;=~"
_DROP_ANSWER = _HOP | {"content-length", "date", "server"}


async def forward(request: Request, client: EngineClient, key: str, token: str | None) -> Response:
    """Pass a request on and stream the answer back; errors have OpenAI's shape.

    Args:
        request: as Serve's proxy got it.
        client: to the engine.
        key: the model's internal key, which the gateway shows.
        token: the cluster's token, which anybody else has to show; None where it has none, and then nobody else may.
    """
    if not _may(request, key, token):
        return _error(HTTPStatus.FORBIDDEN, _CLOSED, "forbidden")
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")) or "/"
    if _UPWARDS & set(path.split("/")):  # the client below would tidy it up, and ask for what was not judged
        return _error(HTTPStatus.NOT_FOUND, "there is nothing at a path with . or .. in it", "not_found")
    query = f"?{request.url.query}" if request.url.query else ""
    headers = [(name, value) for name, value in request.headers.items() if name not in _DROP_REQUEST]
    headers.append(("accept-encoding", "identity"))  # what arrives is passed on as it is
    try:
        answer = await client.session.request(
            request.method,
            f"{client.base_url}{quote(path, _IN_PATH)}{query}",
            headers=headers,
            data=await request.body(),
            allow_redirects=False,
        )
    except aiohttp.ClientError:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "the model's engine does not answer", "engine_unavailable")
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _DROP_ANSWER}
    return StreamingResponse(_chunks(answer), status_code=answer.status, headers=kept)


def _may(request: Request, key: str, token: str | None) -> bool:
    shown = request.headers.get(INTERNAL_KEY_HEADER, "")
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    operator = bool(token) and scheme.lower() == "bearer" and _same(bearer.strip(), token or "")
    return _same(shown, key) or operator


def _same(shown: str, right: str) -> bool:
    return hmac.compare_digest(shown.encode(), right.encode())


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:  # closed early when the client goes: the engine then stops generating
        async for chunk in answer.content.iter_any():
            yield chunk


def _error(status: HTTPStatus, message: str, code: str) -> JSONResponse:
    body = {"error": {"message": message, "type": "server_error", "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers={"retry-after": "5"})
