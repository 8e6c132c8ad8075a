"""The steps of a fetch: changes of files, programs started, blocks written, words told. One can be its last."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

_FIRST = dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate"), slice(1))
_CHANGES = {**_FIRST, "os.rename": slice(2), "os.link": slice(1, 2), "os.symlink": slice(1, 2)}
"""Events of Python's audit, and which of their arguments are paths that change."""
_BEGINS = ("subprocess.Popen", "socket.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_BLOCKS = frozenset({"write", "writelines", "sendfile", "copy_file_range"})


class Steps:
    """Counts from now on for the life of this process, and kills it at one of them."""

    def __init__(self, allowed: Path, kill_at: int) -> None:
        """`allowed` is where files may be changed; `kill_at` the number of the last step, 0 for none."""
        self.count = 0
        self.outside: list[str] = []
        """Changes elsewhere."""
        self._kill_at = kill_at
        self._allowed = [str(allowed), tempfile.gettempdir(), "/dev", "/proc"]
        sys.addaudithook(self._heard)
        sys.setprofile(self._profiled)
        threading.setprofile(self._profiled)

    def step(self) -> None:
        """One more."""
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(args[2], int) and args[2] & _WRITING and isinstance(args[0], str | bytes):
                self._changed("writes", args[0])
        elif event in _CHANGES:
            for path in args[_CHANGES[event]]:
                self._changed(event, path)
        elif event in _BEGINS:
            self.step()

    def _changed(self, what: str, path: Any) -> None:
        if isinstance(path, int):
            return
        whole = Path(os.fsdecode(path)).absolute()
        if not any(whole.is_relative_to(place) for place in self._allowed):
            self.outside.append(f"{what} {whole}")
        self.step()

    def _profiled(self, frame: FrameType, event: str, function: Any) -> None:
        del frame
        if event == "c_return" and getattr(function, "__name__", "") in _BLOCKS:
            self.step()
