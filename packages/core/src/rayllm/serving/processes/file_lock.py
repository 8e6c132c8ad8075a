"""Locks between the processes of a node: gone with the last process that holds them, however it ends.

On a disk that several nodes share (NFS) they hold between these, too.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rayllm.sources import FetchProgress

_POLL_S = 0.1


@contextmanager
def locked(path: Path, report: FetchProgress, waiting_for: str) -> Iterator[int]:
    """Hold the lock file `path`, waiting for whoever holds it.

    Yields the file descriptor. A child that inherits it (`pass_fds`) holds the lock on after a killed parent, so nobody
    else starts on the same files while the child still writes to them.

    Args:
        path: lock file; made when missing and left in place.
        report: told once when there is a wait.
        waiting_for: what the holder does, for the report: `another process that builds X`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        told = False
        while not take(handle):
            if not told:
                report(f"waiting for {waiting_for}")
                told = True
            time.sleep(_POLL_S)
        look_anew(path.parent)
        yield handle
    finally:
        # Closing is enough: an explicit unlock would take the lock from a child that inherited it.
        os.close(handle)


def look_anew(folder: Path) -> None:
    """Forget what this machine remembers of a folder's entries.

    Of a network's disk that may be a minute old: who waited for another node would not see what that has finished, and
    begin with it anew. A change of one's own shows the kernel that there were others.
    """
    with suppress(OSError):  # no such folder yet, or no room: then there is nothing to see, or to make
        handle, name = tempfile.mkstemp(dir=folder, prefix=".look-")
        os.close(handle)
        Path(name).unlink()


def open_locked(path: Path) -> IO[str] | None:
    """The lock file `path`, held until it is closed; None if another process holds it."""
    lock = path.open("a", encoding="ascii")
    if take(lock):
        return lock
    lock.close()
    return None


def take(handle: int | IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    """Try to lock an open file without waiting; `kind` as for flock."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
