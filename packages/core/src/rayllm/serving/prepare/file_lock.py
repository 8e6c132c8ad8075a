"""A lock between the processes of a node that lasts as long as any of them works under it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        while not _take(handle):
            if not told:
                report(f"waiting for {waiting_for}")
                told = True
            time.sleep(_POLL_S)
        yield handle
    finally:
        # Closing is enough: an explicit unlock would take the lock from a child that inherited it.
        os.close(handle)


def _take(handle: int) -> bool:
    """Try to lock without waiting."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
