"""The seam between the head's supervisor and what keeps the workers: a process that is started again when it ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping

from rayllm.serving.processes.supervised import Supervised
from rayllm_backend_cai.node.pod import MARKER, Pod

PAUSE_S = 10.0
"""Seconds between two starts of it."""
PROGRAM = sys.executable
_GRACE_S = 5.0
log = logging.getLogger("rayllm.cai")


class Keeping:
    """Keeps the workers that are wanted.

    Args:
        pod: the head's.
        environ: its whole environment, with the platform's key, which Ray's processes are not given.
    """

    def __init__(self, pod: Pod, environ: Mapping[str, str]) -> None:
        self._pod = pod
        self._environ = {
            **environ,
            "RAYLLM_RUN": str(pod.run),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(pod.token),
        }
        self._process: Supervised | None = None
        self._started = 0.0

    def tick(self) -> None:
        """Look after the workers; called every few seconds once Ray answers. Raises nothing."""
        if self._process and (status := self._process.poll()) is not None:
            log.info("the keeper of the workers ended with status %s and is started again", status)
            self.stop()
        if self._process is None and time.monotonic() > self._started + PAUSE_S:
            self._start()

    def stop(self) -> None:
        """End it; what it was about to do is on the disk."""
        if self._process:
            self._process.stop()
            self._process = None

    def _start(self) -> None:
        self._started = time.monotonic()
        try:
            self._process = Supervised.start(
                [PROGRAM, "-u", "-m", "rayllm_backend_cai.node.keeper_main"],
                env=self._environ,
                log=self._pod.local / "keeper.log",
                marker=f"{MARKER}:{self._pod.engine}:keeper",
                grace_s=_GRACE_S,
                cwd=self._pod.local,
            )
        except OSError as error:
            log.warning("the keeper of the workers can't be started: %s", error)
