"""Keeping what a command prints apart from what others print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OUT, _ERR = 1, 2


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed meanwhile to stderr: by Python code, by a process it starts, by a library written in C."""
    kept = None
    with contextlib.suppress(OSError):  # one of them is closed: then nothing can be spoiled
        kept = os.dup(_OUT)
        os.dup2(_ERR, _OUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, _OUT)
            os.close(kept)
