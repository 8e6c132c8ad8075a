"""Processes that are told from others even after their number was given away."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

_STATE, _START = 0, 19  # fields of /proc/PID/stat behind the name


def identity(pid: int) -> str | None:
    """Number, start and boot of a process, which no other process ever shares; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[_STATE] in "ZX":  # ended, but nobody asked for its exit status yet
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{pid}/{fields[_START]}/{boot}"


def alive(known: str) -> bool:
    """Whether the process with this identity still runs."""
    return bool(known) and identity(int(known.partition("/")[0])) == known


def end(known: str, *, grace_s: float, kill_s: float = 10.0) -> None:
    """SIGTERM the process with this identity, SIGKILL it after `grace_s` seconds; no error if it has ended."""
    try:
        handle = os.pidfd_open(int(known.partition("/")[0]))
    except (ProcessLookupError, ValueError):
        return
    try:
        if not alive(known):
            return
        # From here on the handle means this very process, whoever gets its number.
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, kill_s)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], wait_s)[0]:
                return
    finally:
        os.close(handle)
