"""What a function does beside returning: files, sockets, programs. For a process of its own: a hook stays for ever."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ASKS = (
    *("socket.", "subprocess.", "urllib.", "http.client.", "ftplib.", "smtplib.", "sqlite3.", "tempfile.", "shutil."),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill", "pty."),
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime"),
    *("os.chmod", "os.chown", "os.putenv", "os.unsetenv", "os.chdir"),
)
_READS = ("open", "os.listdir", "os.scandir")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """Notes what is done while it is on. Reading Python's own folders is left out: that is how modules are imported."""

    def __init__(self, made_up: str) -> None:
        """Watch from now on for the life of this process; `made_up` is a folder that nobody may even look at."""
        self.acts: list[str] = []
        self._on = False
        self._made_up = made_up
        self._roots = [*sys.path, sys.prefix, sys.base_prefix]
        sys.addaudithook(self._heard)
        os.stat = self._looking(os.stat)
        os.lstat = self._looking(os.lstat)

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event in _READS:
            if act := self._read(event, args):
                self.acts.append(act)
        elif event.startswith(_ASKS):
            self.acts.append(f"{event} {args[0] if args else ''}".strip()[:200])

    def _read(self, event: str, args: tuple[Any, ...]) -> str | None:
        path = args[0] if args and args[0] is not None else "."
        if isinstance(path, int):
            return None
        name = os.fsdecode(path)
        writes = event == "open" and (bool(args[2] & _WRITING) if isinstance(args[2], int) else False)
        if writes:
            return None if name.startswith("/dev/") else f"writes {name}"
        if any(Path(name).is_relative_to(root) for root in self._roots if root):
            return None
        return f"reads {name}"

    def _looking(self, stat: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def noted(path: Any, *args: Any, **named: Any) -> os.stat_result:
            if self._on and not isinstance(path, int) and os.fsdecode(path).startswith(self._made_up):
                self.acts.append(f"looks for {os.fsdecode(path)}")
            return stat(path, *args, **named)

        return noted
