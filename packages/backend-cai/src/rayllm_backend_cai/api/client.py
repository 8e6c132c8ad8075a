"""The client: one workspace, everything that RayLLM asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rayllm_backend_cai.api.account import Account
from rayllm_backend_cai.api.applications import Applications
from rayllm_backend_cai.api.files import Files
from rayllm_backend_cai.api.jobs import Jobs
from rayllm_backend_cai.api.projects import Projects
from rayllm_backend_cai.api.transport import Call, Transport
from rayllm_backend_cai.workspace import Workspace


class CaiClient:
    """A client of CML API v2. Use it as a context manager; safe to use from several threads.

    Args:
        workspace: where to, and with what key.
        on_call: told of every request that was sent, each retry included.
        sleep: how pauses between retries are made.

    Raises:
        InputError: the file of certificate authorities can't be read.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        on_call: Callable[[Call], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.workspace = workspace
        self._transport = Transport(workspace, on_call=on_call, sleep=sleep)
        self.projects = Projects(self._transport)
        self.applications = Applications(self._transport)
        self.jobs = Jobs(self._transport)
        self.files = Files(self._transport)
        self.account = Account(self._transport)

    def __enter__(self) -> CaiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()
