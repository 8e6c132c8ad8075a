"""Files that are written whole or not at all, on a disk that pods share. Standard library."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a file that this user alone can read; readers see the old or the new one.

    The draft beside it has a random name: pids are alike in pods, and two may write the same file at once.

    Raises:
        OSError: the disk fails; the old one is still there.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
