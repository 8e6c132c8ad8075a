"""From an answer that is an error to the error that a person sees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import httpx

from rayllm_backend_cai.api.errors import (
    AlreadyActiveError,
    CaiError,
    KeyRefusedError,
    NotFoundError,
    QuotaError,
    UnavailableError,
)

AGAIN = frozenset({429, 500, 502, 503, 504})
"""Answers after which the same request may go well."""
_FAILED_PRECONDITION = 9
_MOST_SAID = 500
_WRONG_PLACE = "is the address that of the workspace itself, and is API v2 enabled there?"
_NEW_KEY = "make a new key in the workspace (User Settings, API Keys) with the audience API"


@dataclass(frozen=True)
class _Rule:
    """A refusal that is known: by status, by code and by what is said, each where it stands here."""

    kind: type[CaiError]
    cure: str
    said: str = ""
    statuses: frozenset[int] = frozenset()
    code: int | None = None
    topic: str | None = None

    def fits(self, status: int, code: int | None, said: str) -> bool:
        """Whether all of it is so."""
        by_status = not self.statuses or status in self.statuses
        return by_status and self.code in {None, code} and bool(re.search(self.said, said, re.IGNORECASE))


_RULES = (
    # A key of the wrong form is answered with 500: asking again would not help.
    _Rule(
        KeyRefusedError, f"the key is not a whole API v2 key: {_NEW_KEY}", said=r"malformed api ?key", topic="cai-key"
    ),
    _Rule(KeyRefusedError, f"the key is for something else: {_NEW_KEY}", said=r"audience mismatch", topic="cai-key"),
    _Rule(KeyRefusedError, f"the key is wrong or has ended: {_NEW_KEY}", statuses=frozenset({401}), topic="cai-key"),
    _Rule(
        QuotaError,
        "stop other workloads, ask for less, or ask the administrator for more",
        said=r"out of quota",
        topic="cai-quota",
    ),
    _Rule(
        CaiError,
        "name a runtime of `GET /api/v2/runtimes` by its whole image, or have the administrator add it",
        said=r"runtime image must be specified|runtime.*(not found|not exist|disabled|invalid)",
        topic="cai-runtime",
    ),
    _Rule(
        CaiError,
        "a subdomain is lower-case letters and digits, with single hyphens between them, and no other application of "
        "the workspace may have it",
        said=r"subdomain",
        topic="cai-application",
    ),
    _Rule(CaiError, "upload the script to the project first", said=r"script .* not found"),
    _Rule(
        AlreadyActiveError,
        "wait for the job's run, or stop it",
        said=r"already active",
        statuses=frozenset({400, 409}),
        code=_FAILED_PRECONDITION,
    ),
    _Rule(CaiError, "this key's user lacks the right: ask the project's owner", statuses=frozenset({403})),
    _Rule(NotFoundError, "is the id right, and may this key's user see it?", statuses=frozenset({404})),
)


def refusal(answer: httpx.Response, *, key: str) -> CaiError:
    """The error for an answer with a status of 400 or more, without the key in any of its words."""
    code, said = _body(answer)
    said = said.replace(key, "•••")
    names = ("x-cdp-request-id", "x-request-id")
    request_id = next((answer.headers[name] for name in names if name in answer.headers), "")
    status = answer.status_code
    asked = f"{answer.request.method} {answer.request.url.path}"
    message = f"Cloudera AI refused {asked}: {status} {answer.reason_phrase}".rstrip()
    cause = said + (f"\nrequest id {request_id}" if request_id else "")
    rule = next((rule for rule in _RULES if rule.fits(status, code, said)), None)
    if rule is None and status in AGAIN:
        wait = _retry_after(answer)
        later = f"the platform asks to wait {wait:g} s" if wait else "try again in a moment"
        return UnavailableError(
            f"Cloudera AI can't answer {asked} right now: {status} {answer.reason_phrase}".rstrip(),
            unclear=status != httpx.codes.TOO_MANY_REQUESTS,
            retry_after_s=wait,
            status=status,
            code=code,
            said=said,
            request_id=request_id,
            cause=cause or None,
            cure=f"{later}; if it stays so, the workspace's administrator sees more",
        )
    kind, cure = (rule.kind, rule.cure) if rule else (CaiError, None if code is not None else _WRONG_PLACE)
    topic = rule.topic if rule else None
    return kind(
        message, status=status, code=code, said=said, request_id=request_id, cause=cause or None, cure=cure, topic=topic
    )


def _body(answer: httpx.Response) -> tuple[int | None, str]:
    """Code and message of an error's body; a page of HTML (what stands before the API answers so) gives its title."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        code = body.get("code")
        said = str(body.get("message") or body.get("error") or "")[:_MOST_SAID]
        return (code if isinstance(code, int) else None), said
    text = answer.text
    if title := re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL):
        return None, f"a page instead of an answer: {' '.join(title[1].split())}"[:_MOST_SAID]
    return None, " ".join(re.sub(r"<[^>]*>", " ", text).split())[:_MOST_SAID]


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds to wait, which may be told as a number or as a date."""
    told = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return None
