"""What the platform refuses, as errors with cause and cure."""

from __future__ import annotations

from typing import Any

from rayllm.errors import ClusterError


class CaiError(ClusterError):
    """Cloudera AI refused a request or did not answer it.

    Args:
        status: the HTTP status, if there was an answer.
        code: the gRPC status in the answer's body, if it has one.
        said: the platform's own message.
        request_id: by which the platform's administrator finds the request in its logs.
        **told: as of `RayllmError`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        said: str = "",
        request_id: str = "",
        **told: Any,
    ) -> None:
        super().__init__(message, **told)
        self.status = status
        self.code = code
        self.said = said
        self.request_id = request_id


class KeyRefusedError(CaiError):
    """The key is wrong, has ended, or is for another audience."""


class NotFoundError(CaiError):
    """There is no such thing, or this key may not see it."""


class QuotaError(CaiError):
    """The user's or the group's quota is used up."""


class AlreadyActiveError(CaiError):
    """The job has a run already, and may have one only."""


class CertificateError(CaiError):
    """The server's certificate is not trusted."""


class UnavailableError(CaiError):
    """No answer, or one that says to come again: it may go well in a moment.

    Args:
        message: what happened.
        unclear: whether the platform may have done what it was asked to.
        retry_after_s: seconds that the platform asks to wait.
        **told: as of `CaiError`.
    """

    def __init__(self, message: str, *, unclear: bool = True, retry_after_s: float | None = None, **told: Any) -> None:
        super().__init__(message, **told)
        self.unclear = unclear
        self.retry_after_s = retry_after_s
