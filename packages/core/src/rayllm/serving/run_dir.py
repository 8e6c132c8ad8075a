"""A folder for one gateway's sockets and configuration, gone with it."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import IO

from rayllm.paths import run
from rayllm.serving.haproxy.keeping import Keeping
from rayllm.serving.processes.file_lock import open_locked, take

_LOCK = "lock"


class RunDir:
    """`DEPLOYMENT/ID` of `rayllm.paths.run()`, held by a lock until `remove`, or until this process ends.

    The folder of a gateway that was killed is taken over where its HAProxy still runs, for the same address and from
    the same code; else it goes (it holds internal keys).

    Attributes:
        path: the folder.
        keeping: what runs there already.
    """

    def __init__(self, deployment: str, host: str, port: int) -> None:
        parent = run() / deployment
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.keeping: Keeping | None = None
        for folder in parent.iterdir():
            if lock := _abandoned(folder):
                if not self.keeping and (keeping := Keeping.adopt(folder, host, port, deployment=deployment)):
                    self.path, self.keeping, self._lock = folder, keeping, lock
                else:
                    shutil.rmtree(folder, ignore_errors=True)
                    lock.close()
        if not self.keeping:
            self.path = parent / uuid.uuid4().hex[:8]
            self.path.mkdir(mode=0o700)
            self._lock = (self.path / _LOCK).open("a", encoding="ascii")
            take(self._lock)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _abandoned(folder: Path) -> IO[str] | None:
    """The lock of a folder whose gateway is gone."""
    try:
        return open_locked(folder / _LOCK)
    except OSError:
        return None  # somebody else has just removed it
