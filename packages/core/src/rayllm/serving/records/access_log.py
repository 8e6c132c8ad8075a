"""The access log as its one reader sees it: what is new, and when it is emptied."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

LIMIT = 64 << 20
"""Bytes of the log from which it is moved to a second file; as much again is kept of what came before."""
_HEAD = 256
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Position:
    """How far a log is read."""

    bytes: int = 0
    head: str = ""
    """Tells the text from the one that stood there before it was emptied: a digest of its first line's beginning.

    Empty while there is no whole line yet.
    """


class AccessLog:
    """The log at `path`, which HAProxy appends to and which may not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, after: Position) -> tuple[list[bytes], Position]:
        """Whole lines behind a position, about a MiB at most, and the position behind them.

        Raises:
            OSError: the file can't be read.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return [], after
        with file:
            head = _digest(file.read(_HEAD))
            if not head:
                return [], Position()
            start = after.bytes if head == after.head else 0
            file.seek(start)
            text = file.read(_MOST)
        text = text[: text.rfind(b"\n") + 1]
        return text.splitlines(), Position(start + len(text), head)

    def move(self, read: Position) -> bool:
        """Move the text to a second file and empty the first, if it is large and read to its end.

        HAProxy goes on with the file that it has open. What it writes in the few microseconds between the last look
        and the emptying is lost.

        Raises:
            OSError: the disk is full, or a file can't be written.
        """
        size = self.path.stat().st_size if read.bytes >= LIMIT else 0
        if not size or size != read.bytes:
            return False
        second = self.path.with_suffix(".1.log")
        second.touch(0o600)
        second.chmod(0o600)
        shutil.copyfile(self.path, second)
        with self.path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size != size:
                return False  # more has come: once that is read, too
            file.truncate(0)
        return True


def _digest(head: bytes) -> str:
    line, end, _ = head.partition(b"\n")
    if not end and len(head) < _HEAD:
        return ""  # its first line is not complete
    return hashlib.sha256(line).hexdigest()[:16]
