"""One HTTP connection to a workspace: every call of the client goes through here."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from rayllm_backend_cai.api import certificates, retries
from rayllm_backend_cai.api.errors import CaiError, CertificateError, UnavailableError
from rayllm_backend_cai.api.refusals import refusal
from rayllm_backend_cai.workspace import Workspace

Read = TypeVar("Read", bound=BaseModel)
BASE = "/api/v2"
TIMEOUT_S = 30.0
CREATE_S = 120.0
"""Seconds that a create may take: it was seen to answer only when much of the work is done."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One request that was sent, retries counted apart: no parameters, bodies or headers, which may hold secrets."""

    method: str
    path: str
    """Below `/api/v2`."""
    status: int | None
    """None if there was no answer."""
    seconds: float


class Transport:
    """Sends requests with the key, and turns refusals into errors.

    Args:
        workspace: where to, and with what key.
        on_call: told of every request that was sent.
        sleep: how pauses between retries are made.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        on_call: Callable[[Call], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.workspace = workspace
        self.policy = retries.retrying(sleep)
        self._on_call = on_call
        parts = urlsplit(workspace.url)
        # without TLS nobody is trusted, which costs no reading of authorities
        none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        verify = certificates.context(workspace.ca) if parts.scheme == "https" else none
        self._http = httpx.Client(
            base_url=workspace.url + BASE,
            headers={"authorization": f"Bearer {workspace.key}"},
            verify=verify,
            trust_env=parts.hostname not in _LOOPBACK,  # a proxy can't reach this machine's own addresses
            timeout=TIMEOUT_S,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to a request that may be sent again without harm, retried.

        Raises:
            CaiError: it was refused, or there is no answer.
        """
        return self.policy(self.send, method, path, **request)

    def read(self, kind: type[Read], method: str, path: str, **request: Any) -> Read:
        """As `ask`, for a record."""
        return self.record(kind, self.ask(method, path, **request))

    def make(
        self, kind: type[Read], path: str, body: Mapping[str, Any] | None, look: Callable[[], Read | None]
    ) -> Read:
        """POST what must not be made twice; `look` finds it after a failure that leaves open whether it was made."""

        def make() -> Read:
            return self.record(kind, self.send("POST", path, json=body, timeout=CREATE_S))

        return retries.once(make, look, self.policy)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to one request.

        Raises:
            CaiError: it was refused, or there is no answer.
        """
        start, status = time.monotonic(), None
        try:
            answer = self._http.request(method, path, **request)
            status = answer.status_code
        except httpx.TransportError as error:
            raise self._no_answer(f"{method} {BASE}{path}", error) from error
        finally:
            self._tell(Call(method, path, status, time.monotonic() - start))
        if answer.is_error:
            raise refusal(answer, key=self.workspace.key)
        if answer.is_redirect:
            raise self._strange(answer, "a redirect, as to a page to log in")
        return answer

    def record(self, kind: type[Read], answer: httpx.Response) -> Read:
        """The answer's body as a record.

        Raises:
            CaiError: it is something else.
        """
        try:
            told = answer.json()
        except ValueError:
            raise self._strange(answer, "no JSON") from None
        return self.parsed(kind, told, answer)

    def parsed(self, kind: type[Read], told: object, answer: httpx.Response) -> Read:
        """A part of an answer as a record.

        Raises:
            CaiError: it is something else.
        """
        try:
            return kind.model_validate(told)
        except ValidationError as error:  # its own text would repeat values, an environment's among them
            where = ", ".join(".".join(map(str, one["loc"])) or one["type"] for one in error.errors())
            raise self._strange(answer, f"{kind.__name__} of another form: {where}") from None

    def _tell(self, call: Call) -> None:
        _log.debug("%s %s: %s in %.3f s", call.method, call.path, call.status or "no answer", call.seconds)
        if self._on_call:
            self._on_call(call)

    def _no_answer(self, asked: str, error: httpx.TransportError) -> CaiError:
        url = self.workspace.url
        if isinstance(error.__cause__ and _root(error), ssl.SSLCertVerificationError):
            return CertificateError(
                f"the certificate of {url} is not trusted",
                cause=str(error),
                cure=certificates.CURE,
                topic="cai-certificate",
            )
        return UnavailableError(
            f"{url} did not answer {asked}",
            unclear=not isinstance(error, _NOT_SENT),
            cause=f"{type(error).__name__}: {error}".rstrip(": "),
            cure="is the address right, and can this machine reach it (network, VPN, HTTPS_PROXY)?",
        )

    def _strange(self, answer: httpx.Response, what: str) -> CaiError:
        return CaiError(
            f"{self.workspace.url} did not answer {answer.request.method} {answer.request.url.path} as API v2 does",
            status=answer.status_code,
            cause=f"{what} (content type {answer.headers.get('content-type', 'none')})",
            cure="is the address that of the workspace itself, and is API v2 enabled there?",
        )


def _root(error: BaseException) -> BaseException:
    """What an error came from in the end."""
    while inner := (error.__cause__ or error.__context__):
        error = inner
    return error
