"""One turn of a conversation through the gateway: what is asked, and what comes back, piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rayllm.deployment.file_keys import key_headers
from rayllm.deployment.names import require_name
from rayllm.errors import ClusterError, InputError

if TYPE_CHECKING:
    import httpx

    from rayllm.deployment.session import Session

PATH = "/v1/chat/completions"
QUIET_S = 600.0
"""Seconds without a piece after which an answer counts as broken off: on a CPU, a long prompt takes minutes to read."""
_DONE = "[DONE]"
_NO_END = "the connection ended before the answer did"
_RETRY = frozenset({502, 503, 504})
_NOT_FOUND = 404
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class ChatPart:
    """A piece of an answer, as it comes."""

    text: str = ""
    """What is added to the answer."""
    reasoning: str = ""
    """What a reasoning model thinks before it answers, where the engine tells it apart."""
    finish: str | None = None
    """Why the answer ended, with its last piece: `stop`, `length` (`max_tokens` were reached), `tool_calls`, …"""
    tokens: int | None = None
    """Tokens of the whole answer, reasoning included; with the last piece, where the engine counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to the endpoint."""

    model: str
    url: str
    """The gateway's, without a path."""
    certificate: str | None = None
    """The gateway's, as PEM; None without HTTPS."""
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """With the API key, and what the platform's ingress wants to see."""
    behind_ingress: bool = False
    """True where a platform's ingress, which asks for headers of its own, is before the gateway."""


def question(
    session: Session,
    messages: Sequence[Mapping[str, Any]],
    model: str | None,
    max_tokens: int | None,
    temperature: float | None,
) -> Question:
    """What is asked, and where.

    Raises:
        InputError: there is no such model, or several where none is named; or there is no API key here.
        ClusterError: the cluster is not there, or not ready.
    """
    name = model or only_model(session)
    require_name(session, name)
    told = {"max_tokens": max_tokens, "temperature": temperature}
    body = {"model": name, "messages": list(messages), "stream": True, "stream_options": {"include_usage": True}}
    given = {key: value for key, value in told.items() if value is not None}
    headers = key_headers(session.checked)
    cluster = session.find_ready()
    return Question(
        model=name,
        url=cluster.gateway_url,
        certificate=cluster.certificate,
        body=body | given,
        headers={**headers, **cluster.headers},
        behind_ingress=bool(cluster.headers),
    )


def only_model(session: Session) -> str:
    """The file's model, where it has one alone.

    Raises:
        InputError: it has several.
    """
    names = list(session.checked.config.models)
    if len(names) > 1:
        raise InputError(f"which model? {session.checked.path} has {', '.join(names)}", cure="name one of them")
    return names[0]


def chat(asked: Question, session: Session) -> Generator[ChatPart, None, None]:
    """Ask; the answer in pieces. Closing the iterator ends the request, in the engine too.

    Raises:
        ClusterError: nobody can answer, the engine refuses the question, or the answer broke off.
    """
    import httpx
    from httpx_sse import EventSource, SSEError

    from rayllm.cluster.connection import connect

    try:
        with (
            connect(asked.url, asked.headers, timeout_s=QUIET_S, certificate=asked.certificate) as client,
            client.stream("POST", PATH, json=asked.body, timeout=_timeouts()) as answer,
        ):
            if not answer.is_success:
                answer.read()
                answer.raise_for_status()
            for event in EventSource(answer).iter_sse():
                if event.data == _DONE:
                    return
                if part := part_of(event.data):
                    yield part
    except (httpx.HTTPError, SSEError) as problem:
        raise _told(asked, session, problem) from problem
    raise _broken_off(asked, _NO_END)


async def chat_async(asked: Question, session: Session) -> AsyncGenerator[ChatPart, None]:
    """As `chat`; cancelling ends the request, in the engine too."""
    import httpx
    from httpx_sse import EventSource, SSEError

    from rayllm.cluster.connection import connect_async

    try:
        async with (
            connect_async(asked.url, asked.headers, certificate=asked.certificate) as client,
            client.stream("POST", PATH, json=asked.body, timeout=_timeouts()) as answer,
        ):
            if not answer.is_success:
                await answer.aread()
                answer.raise_for_status()
            async with aclosing(EventSource(answer).aiter_sse()) as events:
                async for event in events:
                    if event.data == _DONE:
                        return
                    if part := part_of(event.data):
                        yield part
    except (httpx.HTTPError, SSEError) as problem:
        raise await asyncio.to_thread(_told, asked, session, problem) from problem
    raise _broken_off(asked, _NO_END)


def _timeouts() -> httpx.Timeout:
    """A connection is there at once or not at all; an answer takes its time."""
    import httpx

    return httpx.Timeout(QUIET_S, connect=5.0)


def part_of(data: str) -> ChatPart | None:
    """One event of the stream; None where it holds nothing for a reader.

    Raises:
        ClusterError: the engine tells of an error in the middle of its answer.
    """
    try:
        event = json.loads(data)
    except ValueError:
        return None
    if error := event.get("error"):
        raise ClusterError("the engine broke its answer off", cause=_message(error), cure="ask again")
    tokens = (event.get("usage") or {}).get("completion_tokens")
    choice: dict[str, Any] = next(iter(event.get("choices") or ()), {})
    delta = choice.get("delta") or {}
    part = ChatPart(
        text=delta.get("content") or "",
        reasoning=delta.get("reasoning_content") or delta.get("reasoning") or "",
        finish=choice.get("finish_reason"),
        tokens=tokens,
    )
    return part if part != ChatPart() else None


def _told(asked: Question, session: Session, problem: Exception) -> ClusterError:
    """What went wrong on the wire, as something a person can act on; asks the cluster where nobody answers."""
    import httpx

    if isinstance(problem, httpx.HTTPStatusError):
        return _refusal(asked, session, problem.response)
    if isinstance(problem, (httpx.ConnectError, httpx.ConnectTimeout)):
        return _not_answering(asked, session, str(problem))
    return _broken_off(asked, str(problem) or type(problem).__name__)


def _broken_off(asked: Question, cause: str) -> ClusterError:
    return ClusterError(
        f"the answer of {asked.model} broke off",
        cause=cause,
        cure=f"ask again; rayllm status {asked.model} tells what happened to it",
    )


def _refusal(asked: Question, session: Session, answer: httpx.Response) -> ClusterError:
    """The error for an answer that is none."""
    from rayllm.cluster.ingress import ingress_error

    try:
        said = _message(answer.json().get("error"))
    except (ValueError, AttributeError):
        said = answer.text[:500]
    if answer.status_code in _RETRY:
        return _not_answering(asked, session, said)
    if asked.behind_ingress and (problem := ingress_error(answer)):
        return problem
    if answer.status_code == _UNAUTHORIZED:
        cure = "export RAYLLM_API_KEY=…; a new one: rayllm keys add NAME"
        return ClusterError("the endpoint refused the API key", cause=said, cure=cure, topic="api-key")
    if answer.status_code == _NOT_FOUND and "model_not_found" in answer.text:
        return ClusterError(f"{asked.model} is not deployed", cause=said, cure="deploy what the file says: rayllm up")
    return ClusterError(f"{asked.model} refused the question (HTTP {answer.status_code})", cause=said or None)


def _not_answering(asked: Question, session: Session, said: str) -> ClusterError:
    """Why nobody answers, as `status` tells it; the gateway's own words where it knows no more."""
    from rayllm.deployment.observing import look

    try:
        status = look(session)
    except ClusterError as problem:
        return problem
    for part in (status.gateway, status.models.get(asked.model)):
        if part and part.state != "ready":
            return ClusterError(f"{part.name} is not ready: {part.state}", cause=part.cause, cure=part.cure)
    return ClusterError(f"{asked.model} can't answer now", cause=said or None, cure="ask again in a moment")


def _message(error: Any) -> str:
    return str(error.get("message") or error) if isinstance(error, dict) else str(error or "")
