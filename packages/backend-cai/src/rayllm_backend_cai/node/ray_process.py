"""A node's Ray: one process that stands for all of it."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rayllm.serving.processes.supervised import Supervised
from rayllm_backend_cai.node.pod import MARKER, Pod

KEPT_BYTES = 256 << 10
"""Of the end of each log that is kept for the operator."""
_KEPT = ("gcs_server", "raylet", "dashboard", "monitor")
"""Beginnings of the names of Ray's logs that tell why a node ended."""
_QUIET = re.compile(r"\s|$|Traceback|\[[\d :,-]+ [DIW] |[\d :,-]+\t(INFO|WARN)")

log = logging.getLogger("rayllm.cai")


class RayProcess:
    """Ray in this pod, under a reaper."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._log = pod.local / "ray.log"
        self._joined = pod.local / "joined"
        self._process: Supervised | None = None

    def start(self, argv: Sequence[str], env: Mapping[str, str], grace_s: float) -> None:
        """Start it, with nothing left of an earlier one in this pod.

        Raises:
            OSError: it can't be started.
        """
        self._joined.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)
        shutil.rmtree(self._pod.ray, ignore_errors=True)
        marker = f"{MARKER}:{self._pod.engine}"
        self._process = Supervised.start(
            argv, env=env, log=self._log, marker=marker, grace_s=grace_s, cwd=self._pod.local
        )

    @property
    def joined(self) -> bool:
        """Whether the node has come up: the head lists it, or it is the head and can be joined."""
        return self._joined.exists()

    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll() if self._process else None

    def stop(self, grace_s: float) -> None:
        """End it and everything in it; does nothing where nothing runs."""
        if self._process:
            self._process.stop(grace_s)
            self._process = None

    def last_words(self, count: int = 8) -> str:
        """The end of what it printed, without tracebacks' frames and what is no error."""
        with contextlib.suppress(FileNotFoundError):
            text = self._log.read_text(encoding="utf-8", errors="replace")
            return "\n".join([line for line in text.splitlines() if not _QUIET.match(line)][-count:])
        return ""

    def keep_logs(self) -> None:
        """Copy the ends of its logs to the project's disk, where an operator can read them after all else is gone."""
        found = self._pod.ray.glob("session_latest/logs/*")
        logs = [self._log, *(one for one in found if one.name.startswith(_KEPT))]
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        for path in logs:
            try:
                _copy_end(path, self._pod.logs / path.name, f"# kept {since}\n")
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("%s is not kept: %s", path.name, error)


def _copy_end(source: Path, target: Path, header: str) -> None:
    with source.open("rb") as lines:
        lines.seek(max(0, source.stat().st_size - KEPT_BYTES))
        text = lines.read()
    if text.strip():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.write_bytes(header.encode() + text)
