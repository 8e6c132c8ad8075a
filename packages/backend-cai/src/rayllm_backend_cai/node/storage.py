"""The head's files on the project's disk: what nobody else may read, and what only one head at a time may use."""

from __future__ import annotations

import errno
import logging
import os
import secrets
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rayllm.serving.processes.file_lock import open_locked

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

log = logging.getLogger("rayllm.cai")


def lock(folder: Path) -> AbstractContextManager[object] | None:
    """Hold Ray's records in this folder against other pods; None if another one has them.

    On a disk that knows no locks nothing holds them: then it counts that an earlier start ends when it is told.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return open_locked(folder.with_name(f"{folder.name}.lock"))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("this disk knows no locks: %s", error)
        return nullcontext()


def make_token(path: Path) -> str:
    """Ray's token; made where there is none, readable by this user alone in any case."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = secrets.token_hex(32)
        write_private(path, token)
    path.chmod(0o600)
    return token


def keep_private(folder: Path) -> None:
    """Let this user alone read the files of a folder: what was uploaded has another mode."""
    try:
        for path in folder.glob("*"):
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
    except OSError as error:  # replaced just now, or the disk fails: the next look finds it
        log.warning("%s can't be looked through just now: %s", folder, error)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
