"""Faults that are put in the way of requests."""

from __future__ import annotations

import re
import threading

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from rayllm_backend_cai.testing.replies import Refused, reply

HTML = "<html><head><title>{status} {reason}</title></head><body><h1>{reason}</h1><hr>proxy</body></html>"
"""What stands before the API answers when the API does not."""


class Fault(BaseModel):
    """What happens to requests that fit, instead of or after what they ask for."""

    model_config = ConfigDict(extra="forbid")

    method: str = ""
    """`POST`; all if empty."""
    path: str = ""
    """A regular expression, found anywhere in the path below /api/v2 (`/applications$`)."""
    skip: int = 0
    """How many that fit go well before."""
    times: int | None = 1
    """How many it happens to; None for all."""
    status: int = 0
    """Answer with this; 0 lets the request through after `delay_s`."""
    message: str = "made to fail"
    code: int = 13
    """gRPC's status in the body."""
    html: bool = False
    """A page as of a proxy, instead of the API's error."""
    retry_after: str = ""
    """Value of that header."""
    delay_s: float = 0.0
    """Real seconds before anything else."""
    drop: bool = False
    """The connection breaks instead of an answer."""
    carried_out: bool = False
    """The request is done before its answer is lost or replaced."""

    def fits(self, method: str, path: str) -> bool:
        """Whether it is meant for this request."""
        return self.method.upper() in {"", method} and bool(re.search(self.path, path))

    def answer(self) -> web.Response:
        """The answer instead of the request's own."""
        headers = {"retry-after": self.retry_after} if self.retry_after else {}
        headers["x-request-id"] = "fake-request-1"
        if self.html:
            text = HTML.format(status=self.status, reason=self.message)
            return web.Response(status=self.status, text=text, content_type="text/html", headers=headers)
        return reply(Refused(self.status, self.code, self.message).body(), self.status, headers)


class Faults:
    """Those that are due. Safe to change from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Put these behind those that are there; the first that fits a request happens."""
        with self._lock:
            self._due += [fault.model_copy() for fault in faults]

    def clear(self) -> None:
        """From now on all goes well."""
        with self._lock:
            self._due.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that happens to this request."""
        with self._lock:
            for fault in self._due:
                if not fault.fits(method, path):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._due.remove(fault)
                return fault
        return None
