"""One request from Serve's proxy to the engine of this replica: the slow path, while a model has no known replica."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from rayllm.serving.engine.client import EngineClient
from rayllm.serving.spec import INTERNAL_KEY_HEADER

_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization"}
    | {"te", "trailers", "transfer-encoding", "upgrade"}
)
_DROP_REQUEST = _HOP | {"host", "accept-encoding", "content-length", INTERNAL_KEY_HEADER}
_DROP_ANSWER = _HOP | {"content-length", "date", "server"}


async def forward(request: Request, client: EngineClient, key: str) -> Response:
    """Pass a request on and stream the answer back; errors have OpenAI's shape."""
    shown = request.headers.get(INTERNAL_KEY_HEADER, "")
    if not hmac.compare_digest(shown.encode(), key.encode()):
        return _error(HTTPStatus.FORBIDDEN, "this address is for RayLLM's gateway; use the gateway's", "forbidden")
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")) or "/"
    query = f"?{request.url.query}" if request.url.query else ""
    headers = [(name, value) for name, value in request.headers.items() if name not in _DROP_REQUEST]
    headers.append(("accept-encoding", "identity"))  # what arrives is passed on as it is
    try:
        answer = await client.session.request(
            request.method,
            f"{client.base_url}{path}{query}",
            headers=headers,
            data=await request.body(),
            allow_redirects=False,
        )
    except aiohttp.ClientError:
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "the model's engine does not answer", "engine_unavailable")
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _DROP_ANSWER}
    return StreamingResponse(_chunks(answer), status_code=answer.status, headers=kept)


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:  # closed early when the client goes: the engine then stops generating
        async for chunk in answer.content.iter_any():
            yield chunk


def _error(status: HTTPStatus, message: str, code: str) -> JSONResponse:
    body = {"error": {"message": message, "type": "server_error", "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers={"retry-after": "5"})
