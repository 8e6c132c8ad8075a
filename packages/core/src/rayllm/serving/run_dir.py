"""A folder for one gateway's sockets and configuration, gone with it."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from rayllm.paths import home
from rayllm.serving.processes.file_lock import open_locked

_LOCK = "lock"


class RunDir:
    """`run/DEPLOYMENT/ID` of RayLLM's home, held by a lock until `remove`, or until this process ends.

    What a killed gateway left behind (its configuration holds internal keys) goes when the next one starts.
    """

    def __init__(self, deployment: str) -> None:
        parent = home() / "run" / deployment
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in parent.iterdir():
            _remove_abandoned(folder)
        self.path = parent / uuid.uuid4().hex[:8]
        self.path.mkdir(mode=0o700)
        self._lock = open_locked(self.path / _LOCK)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock:
            self._lock.close()


def _remove_abandoned(folder: Path) -> None:
    try:
        lock = open_locked(folder / _LOCK)
    except OSError:
        return  # somebody else has just removed it
    if lock:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
