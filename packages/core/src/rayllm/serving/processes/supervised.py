"""Child processes that never outlive their owner, and finding what did."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rayllm.errors import RayllmError

OWNER = "RAYLLM_OWNER"
"""Environment variable of every process we start, and of its descendants: whose they are."""
_REAPER = Path(__file__).with_name("reaper.py")
_KILL_S = 10.0
"""Seconds after SIGKILL until we stop believing in the reaper and look for the processes ourselves."""


class Supervised:
    """A program under a reaper: it and all its descendants end when this object's process does, however that ends.

    Safe to use from several threads. Start it with `Supervised.start`.
    """

    def __init__(self, reaper: subprocess.Popen[bytes], pid: int, marker: str, grace_s: float) -> None:
        self.pid = pid
        """The program's own process."""
        self.reaper_pid = reaper.pid
        self._reaper = reaper
        self._marker = marker
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._told = b""
        self._status: int | None = None
        self.ended_at = 0.0
        """Unix time at which the program ended, once `poll` has said so."""

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        marker: str,
        grace_s: float = 10.0,
        cwd: Path | None = None,
    ) -> Supervised:
        """Start a program with exactly this environment (and `RAYLLM_OWNER`).

        Args:
            argv: the program and its arguments.
            env: its whole environment.
            log: file that its standard output and error are appended to.
            marker: whose it is; what `sweep` finds it by.
            grace_s: seconds between SIGTERM and SIGKILL.
            cwd: folder it starts in.

        Raises:
            OSError: the program can't be started, or the log can't be written.
        """
        unique = f"{marker}/{secrets.token_hex(4)}"
        with log.open("ab") as lines:
            reaper = subprocess.Popen(
                [sys.executable, "-I", str(_REAPER), str(grace_s), *argv],
                env={**env, OWNER: unique},
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=lines,
                bufsize=0,
                start_new_session=True,
            )
        word, _, rest = _first_line(reaper).partition(b" ")
        if word == b"pid":
            return cls(reaper, int(rest), unique, grace_s)
        _close(reaper)
        reaper.wait()
        number, _, text = rest.decode().partition(" ")
        raise OSError(int(number or 0), text or f"the reaper could not start it, see {log}", argv[0])

    def poll(self) -> int | None:
        """The program's exit status, negative for a signal; None while it runs.

        It ends with its reaper: when that was killed this is -9. Its descendants may still be ending: see `stop`.
        """
        with self._lock:
            if self._status is None:
                self._status = self._read()
            return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the program's exit status.

        Raises:
            TimeoutError: it still runs after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError(f"process {self.pid} still runs after {timeout:g} s")
            _readable(self._reaper, left)
        return status

    def stop(self, grace_s: float | None = None) -> None:
        """End it: SIGTERM, after `grace_s` seconds SIGKILL; returns when all its descendants are gone.

        Raises:
            RayllmError: the kernel does not let a process go.
        """
        grace_s = self._grace_s if grace_s is None else grace_s
        pipe = self._reaper.stdin
        with contextlib.suppress(OSError, ValueError):  # the reaper is gone, or another thread closed the pipe
            if pipe is not None:
                pipe.write(f"{grace_s}\n".encode())
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._reaper.wait(grace_s + _KILL_S)
        sweep(self._marker)  # the reaper may have been killed, and then left its descendants behind
        self._reaper.wait(_KILL_S)
        self.poll()
        with self._lock:
            _close(self._reaper)

    def _read(self) -> int | None:
        out = self._reaper.stdout
        while out is not None and not out.closed and _readable(self._reaper, 0):
            chunk = out.read(4096)
            if not chunk:
                self.ended_at = time.time()
                return -signal.SIGKILL  # the reaper's end without a word: the program died with it
            self._told += chunk
            if self._told.startswith(b"exit ") and self._told.endswith(b"\n"):
                _, status, at = self._told.split()
                self.ended_at = float(at)
                return int(status)
        return None


def sweep(marker_prefix: str) -> list[int]:
    """Kill every process of this user whose `RAYLLM_OWNER` begins with `marker_prefix`; returns their pids.

    For what is left when an owner and its reaper were both killed.

    Raises:
        RayllmError: a process is still there 10 seconds after it was killed.
    """
    killed: set[int] = set()
    end = time.monotonic() + _KILL_S
    while found := marked(marker_prefix):
        if time.monotonic() > end:
            raise RayllmError(
                f"processes {', '.join(map(str, found))} don't end, though they were killed",
                cure="they wait for a device or a disk: see `dmesg`, and restart the machine if nothing else helps",
                topic="leftovers",
            )
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(found)
        time.sleep(0.02)
    return sorted(killed)


def marked(marker_prefix: str) -> list[int]:
    """Processes of this user, except this one, whose `RAYLLM_OWNER` begins with `marker_prefix`."""
    wanted = f"{OWNER}={marker_prefix}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                if any(pair.startswith(wanted) for pair in (entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
    return found


def _first_line(reaper: subprocess.Popen[bytes]) -> bytes:
    return reaper.stdout.readline().strip() if reaper.stdout else b""


def _readable(reaper: subprocess.Popen[bytes], timeout: float | None) -> bool:
    """Whether the reaper said something, or ended, within `timeout` seconds."""
    if reaper.stdout is None:
        return False
    watch = select.poll()  # select.select can't take descriptors from 1024 up
    try:
        watch.register(reaper.stdout, select.POLLIN)
    except ValueError:  # closed by another thread's stop
        return True
    return bool(watch.poll(None if timeout is None else timeout * 1000))


def _close(reaper: subprocess.Popen[bytes]) -> None:
    for pipe in (reaper.stdin, reaper.stdout):
        if pipe is not None:
            pipe.close()
