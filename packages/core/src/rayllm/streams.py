"""Keeping what a command prints apart from what others print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_OUT, _ERR = 1, 2


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed meanwhile to stderr: by Python code, by a process it starts, by a library written in C."""
    with _stdout_at(_ERR), contextlib.redirect_stdout(sys.stderr):
        yield


@contextmanager
def stdout_caught(told: Callable[[str], None]) -> Iterator[None]:
    """Keep what is printed meanwhile, by whomever, and hand it over at the end; nothing is no call."""
    file = _unnamed()
    stream = _Stdout(open(file, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115
    try:
        with _stdout_at(file), contextlib.redirect_stdout(cast("TextIO", stream)):
            yield
    finally:
        stream.end()
        said = os.pread(file, os.fstat(file).st_size, 0)
        os.close(file)
        if said:
            told(said.decode(errors="replace"))


def stdout_is_over() -> None:
    """Send what is printed from now on to stderr, until the process ends: no result comes any more."""
    try:
        with contextlib.suppress(ValueError):  # somebody closed it
            sys.stdout.flush()
    finally:
        with contextlib.suppress(OSError):  # which of them is where, may be another where one was closed
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        sys.stdout = sys.stderr


class _Stdout:
    """A stream that stands for stdout; for who has kept it, as a logger's handler does, it is stderr in the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream or sys.stderr, name)

    def end(self) -> None:
        """Be stderr from now on."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()


@contextmanager
def _stdout_at(descriptor: int) -> Iterator[None]:
    kept = None
    with contextlib.suppress(OSError):  # one of them is closed: then nothing can be spoiled
        kept = os.dup(_OUT)
        os.dup2(descriptor, _OUT)
    try:
        yield
    finally:
        if kept is not None:
            os.dup2(kept, _OUT)
            os.close(kept)


def _unnamed() -> int:
    """The descriptor of a file without a name, in memory where the system has such."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return os.memfd_create("stdout")
    import tempfile  # which takes milliseconds to import

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
