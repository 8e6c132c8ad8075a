"""How the job goes, in files that the operator reads: the platform gives out neither logs nor reasons of a run."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rayllm.errors import RayllmError
from rayllm_backend_cai.bootstrap.drafts import write_whole

if TYPE_CHECKING:
    from rayllm_backend_cai.bootstrap.asked import Asked

RECORD = "environment.json"
LOG = "environment.log"
WRITE_S = 1.0
"""Seconds between two writes of the record, which lies on a shared disk."""


class Journal:
    """The record `environment.json` of a cluster's folder and, with all that was told, `logs/environment.log`.

    Args:
        asked: what the run is about.

    Raises:
        OSError: they can't be written.
    """

    def __init__(self, asked: Asked) -> None:
        self._file = asked.cluster_folder / RECORD
        logs = asked.cluster_folder / "logs"
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log = (logs / LOG).open("w", encoding="utf-8", buffering=1)
        self._facts: dict[str, Any] = {"run": asked.run, "serving": asked.serving, "preparation": asked.preparation}
        self._facts |= {"state": "running", "step": "environment", "detail": "starting", "error": None}
        self._facts |= {"pid": os.getpid(), "started": time.time()}
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._write()
        self._writer = threading.Thread(target=self._keep, daemon=True)
        self._writer.start()

    def reporter(self, step: str) -> Callable[[str], None]:
        """Tells what goes on in a step."""
        return lambda detail: self.tell(step, detail)

    def tell(self, step: str, detail: str) -> None:
        """This goes on now."""
        self._say(f"{step}: {detail}")
        self._facts |= {"step": step, "detail": detail}
        self._changed.set()

    def succeed(self) -> int:
        """All is made; the exit status."""
        self._say("everything is there")
        self._end(state="succeeded")
        return 0

    def fail(self, error: RayllmError) -> int:
        """It can't be made; the exit status."""
        self._say(str(error))
        parts = {name: getattr(error, name) or "" for name in ("message", "cause", "cure", "topic")}
        self._end(state="failed", error=parts)
        return 1

    def _say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201 - the log of the job's run, which is seen in the browser
        self._log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")

    def _end(self, *, state: str, error: dict[str, str] | None = None) -> None:
        self._ended.set()
        self._changed.set()
        self._writer.join()
        self._facts |= {"state": state, "error": error}
        self._write()
        self._log.close()

    def _keep(self) -> None:
        """Write what has changed, and then nothing for a while."""
        while not self._ended.wait(WRITE_S):
            self._changed.wait()
            if not self._ended.is_set():
                self._changed.clear()
                self._write()

    def _write(self) -> None:
        """Readers see the old or the new one."""
        write_whole(self._file, json.dumps({**self._facts, "updated": time.time()}, indent=1) + "\n")
