"""What the kit's process does around a backend's platform calls: count, stop, and look at what is handed on."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

STARTING = frozenset({"subprocess.Popen", "os.posix_spawn", "os.system", "os.exec"})
"""Python's audit events of handing an argument list to another program."""
REACHING = STARTING | {"socket.connect", "http.client.send", "os.fork"}
"""Those of a process that reaches out of itself."""
SENDING = ("httpx.Client.send", "httpx.AsyncClient.send")
"""Reaches out as well, and over a connection that is open already without an event."""
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
        self._beside: list[str] = []
        self._exposed: list[str] = []
        self._within = 0
        """Platform calls that go on, in whatever thread: what they start is theirs."""

    def install(self, calls: Sequence[str]) -> None:
        """Put a point before and behind each of the named functions, and watch what leaves this process."""
        for name in set(SENDING) - set(calls):
            _replace(name, functools.partial(self._noted, name))
        for name in calls:
            _replace(name, self._wrapped)
        sys.addaudithook(self._audit)

    def opened(self) -> None:
        """Forget what opening the backend reached; a rule of its own looks at that."""
        self._beside.clear()

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
            "beside": self._beside,
            "exposed": self._exposed,
        }

    def _wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._call():
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with self._call():
                return await function(*args, **kwargs)

        return call_async if inspect.iscoroutinefunction(function) else call

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        self._point()
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)
            self._point()

    def _count(self, more: int) -> None:
        with self._lock:
            self._within += more

    def _noted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._reach(name)
            return function(*args, **kwargs)

        return call

    def _reach(self, what: str) -> None:
        self._reached.append(what)
        if not self._within:
            self._beside.append(what)

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
            self._reach(event)
        if event in STARTING:
            line = b"\0".join(_words(args[0])) if event == "os.system" else b"\0".join(_words(args[1]))
            if any(secret in line for secret in self._secrets):
                self._exposed.append(event)


def _replace(name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put another function in the place of a named one, of a module or of a class."""
    holder, _, attribute = name.rpartition(".")
    owner = resolve_name(holder)
    found = inspect.getattr_static(owner, attribute)
    if isinstance(found, (classmethod, staticmethod)):
        setattr(owner, attribute, type(found)(wrap(found.__func__)))
    else:
        setattr(owner, attribute, wrap(found))


def _words(argv: Any) -> list[bytes]:
    """An argument list as bytes, whatever it is made of."""
    return [os.fsencode(word) for word in ([argv] if isinstance(argv, (str, bytes)) else argv)]
