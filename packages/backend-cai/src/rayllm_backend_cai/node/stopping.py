"""Being asked to stop: by a signal, or by the end of who started this process."""

from __future__ import annotations

import os
import select
import signal
import threading


class Stopping:
    """Set once, from a signal's handler or from any thread; unlike a `threading.Event` it can't lock its own setter."""

    def __init__(self) -> None:
        self._seen, self._told = os.pipe()
        self._is_set = False

    def set(self) -> None:
        """Ask to stop."""
        if not self._is_set:
            self._is_set = True
            os.write(self._told, b"x")

    def __bool__(self) -> bool:
        return self._is_set

    def wait(self, seconds: float | None) -> bool:
        """Wait, at most so long; returns whether to stop."""
        select.select([self._seen], [], [], seconds)
        return self._is_set

    def listen(self) -> None:
        """Take SIGTERM and SIGINT, and the end of standard input, for being asked."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.set())
        threading.Thread(target=self._until_alone, name="starter", daemon=True).start()

    def _until_alone(self) -> None:
        # Not `sys.stdin`: a thread that waits there holds its lock, which the interpreter's end needs.
        while os.read(0, 4096):
            pass
        self.set()
