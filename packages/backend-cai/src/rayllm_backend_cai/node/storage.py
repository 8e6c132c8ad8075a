"""The head's files on the project's disk: what nobody else may read, and what only one head at a time may use."""

from __future__ import annotations

import errno
import logging
import secrets
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rayllm.serving.processes.file_lock import open_locked
from rayllm_backend_cai.bootstrap.drafts import write_whole

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
        write_whole(path, token)
    path.chmod(0o600)
    return token


def keep_private(folder: Path) -> None:
    """Let this user alone read a folder and its files: what was uploaded has another mode."""
    try:
        for path in [folder, *folder.glob("*")] if folder.is_dir() else ():
            if path.stat().st_mode & 0o077:
                path.chmod(0o700 if path.is_dir() else 0o600)
    except OSError as error:  # replaced just now, or the disk fails: the next look finds it
        log.warning("%s can't be looked through just now: %s", folder, error)
