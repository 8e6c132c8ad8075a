"""What the kit's process does around a backend's platform calls: count, stop, and look at what is handed on."""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

REACHING = frozenset({"socket.connect", "subprocess.Popen", "os.posix_spawn", "os.system", "os.exec", "os.fork"})
"""Python's audit events of a process that reaches out of itself."""
STARTING = REACHING - {"socket.connect", "os.fork"}
"""Those that hand an argument list to another program."""
_KILL = os.kill  # a backend's own may be among what is intercepted


class Interception:
    """One run's: every platform call has a point before it and one behind it, and a run may be stopped at one of them.

    Args:
        wire: where the test is told how it goes.
        stop: `{"at": 3, "how": "kill"}` stops before the second call: `kill` is SIGKILL, `interrupt` is Ctrl-C, and
            `hold` waits until the test says something.
        secrets: values that may stand in no argument list.
    """

    def __init__(self, wire: socket.socket, stop: Mapping[str, Any] | None, secrets: Collection[str]) -> None:
        self._wire = wire
        self._stop = stop or {"at": 0, "how": "kill"}
        self._secrets = [secret.encode() for secret in secrets]
        self._lock = threading.Lock()
        self._points = 0
        self._told: list[tuple[str, str, bool]] = []
        self._reached: list[str] = []
        self._exposed: list[str] = []

    def install(self, calls: Sequence[str]) -> None:
        """Put a point before and behind each of the named functions, and watch what leaves this process."""
        for name in calls:
            holder, _, attribute = name.rpartition(".")
            owner = resolve_name(holder)
            found = inspect.getattr_static(owner, attribute)
            if isinstance(found, (classmethod, staticmethod)):
                setattr(owner, attribute, type(found)(self._wrapped(found.__func__)))
            else:
                setattr(owner, attribute, self._wrapped(found))
        sys.addaudithook(self._audit)

    def progress(self, step: str, detail: str, *, done: bool = False) -> None:
        """A `rayllm.Progress` that remembers."""
        self._told.append((step, detail, done))

    def tell(self, what: Mapping[str, Any]) -> None:
        """Tell the test."""
        self._wire.sendall(json.dumps(what).encode() + b"\n")

    def seen(self) -> dict[str, Any]:
        """What is to be told of a run at its end."""
        return {
            "points": self._points,
            "told": self._told,
            "reached": self._reached,
            "exposed": self._exposed,
        }

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._point()
            try:
                return function(*args, **kwargs)
            finally:
                self._point()

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            self._point()
            try:
                return await function(*args, **kwargs)
            finally:
                self._point()

        return call_async if inspect.iscoroutinefunction(function) else call

    def _point(self) -> None:
        with self._lock:
            self._points += 1
            if self._points != self._stop["at"]:
                return
            self.tell({"stopped": self._points})
        if self._stop["how"] == "kill":
            _KILL(os.getpid(), signal.SIGKILL)
        elif self._stop["how"] == "interrupt":
            signal.raise_signal(signal.SIGINT)
        else:
            self._wire.recv(1)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in REACHING:
            self._reached.append(event)
        if event in STARTING:
            line = b"\0".join(_words(args[0])) if event == "os.system" else b"\0".join(_words(args[1]))
            if any(secret in line for secret in self._secrets):
                self._exposed.append(event)


def _words(argv: Any) -> list[bytes]:
    """An argument list as bytes, whatever it is made of."""
    return [os.fsencode(word) for word in ([argv] if isinstance(argv, (str, bytes)) else argv)]
