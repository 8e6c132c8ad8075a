"""Keeps a gateway's HAProxies running, also while nobody owns them. A process of its own: no imports but the cheapest.

    python -m rayllm.serving.haproxy.keeper OWNERLESS_S NODE KIND PREDECESSOR HAPROXY CONFIG...

It runs in the gateway's folder, and what it inherits it holds as long as it lives: the claim on the port, HAProxy's
standard output and error. It leaves its parent as soon as it listens, so it outlives it. The front door, in its first
life, takes the port over from the HAProxy whose runtime socket PREDECESSOR is ("": from none): both accept from one
queue then, and the one that leaves cuts nobody off.

Whoever is connected to `keeper.sock` is the owner, one at a time. It is told `mine KIND`, then `ended CONFIG STATUS`
for every death; a second one is told `taken`. It says `drain` (no more connections, over when the last one has ended)
or `stop` (over now). It is also over when there was no owner for OWNERLESS_S seconds, or when the process NODE ends
(0: none).

A HAProxy that ends is started again at once, after several short lives with a pause that doubles. All die with the
keeper (PR_SET_PDEATHSIG, and workers with their master).
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from rayllm.serving.haproxy.places import KEEPER_SOCKET, MASTERS
from rayllm.serving.processes import reaper

_SHORT_S = 5.0
_SHORT_LIVES = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0


def main() -> None:
    """Listen, leave the parent, keep."""
    os.umask(0o077)
    with contextlib.suppress(FileNotFoundError):
        Path(KEEPER_SOCKET).unlink()
    door = socket.socket(socket.AF_UNIX)
    door.bind(KEEPER_SOCKET)
    door.listen()
    if os.fork():
        os._exit(0)
    ownerless_s, node, kind, predecessor, haproxy, *configs = sys.argv[1:]
    kept = [Kept(haproxy, config) for config in configs]
    kept[0].predecessor = predecessor
    Keeper(door, kept, kind, ownerless_s=float(ownerless_s), node=int(node)).run()


class Kept:
    """One HAProxy and its lives."""

    def __init__(self, haproxy: str, config: str) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None
        self.due = 0.0
        self.predecessor = ""
        self._argv = [haproxy, "-W", "-S", f"unix@{MASTERS[config]},mode,600", "-f", config]
        self._env = {key: reaper.environment()[key] for key in (b"PATH", b"RAYLLM_OWNER")}
        self._born = 0.0
        self._short_lives = 0

    def start(self) -> None:
        """Live again."""
        self._born = time.monotonic()
        taking_over = ["-x", self.predecessor] if self.predecessor else []
        self.process = reaper.start([*self._argv, *taking_over], self._env, 1)
        self.predecessor = ""

    def ended(self, status: int) -> None:
        """Bury it, and say when it is to live again."""
        if self.process:  # a Popen that is let go unburied takes the status of another child along
            self.process.returncode = status
        self.process = None
        now = time.monotonic()
        self._short_lives = self._short_lives + 1 if now - self._born < _SHORT_S else 0
        many = self._short_lives - _SHORT_LIVES
        pause = min(_FIRST_PAUSE_S * 2**many, _LONGEST_PAUSE_S) if many >= 0 else 0.0
        self.due = now + pause
        again = f"again in {pause:g} s" if pause else "again"
        sys.stderr.write(f"HAProxy ({self.config}) ended with status {status}, starting it {again}\n")
        sys.stderr.flush()


class Keeper:
    """Waits for deaths, for the owner, and for the end."""

    def __init__(self, door: socket.socket, kept: list[Kept], kind: str, *, ownerless_s: float, node: int) -> None:
        self.door, self.kept, self.kind, self.ownerless_s = door, kept, kind, ownerless_s
        self.wakeup = reaper.prepare()
        self.node = [os.pidfd_open(node)] if node else []
        self.owner: socket.socket | None = None
        self.ownerless_since = time.monotonic()
        self.draining = False
        self.over = False

    def run(self) -> None:
        """Return when it is over and nothing is left."""
        while not self.over:
            self._start()
            self._wait()
            self._bury()
        while found := reaper.descendants(os.getpid()):
            for pid in found:
                reaper.send(pid, signal.SIGKILL)
            self._bury()
            time.sleep(0.01)
        if self.owner is None:  # nobody else removes the internal keys
            shutil.rmtree(Path.cwd(), ignore_errors=True)

    def _start(self) -> None:
        for each in self.kept:
            if each.process is None and not self.draining and time.monotonic() >= each.due:
                each.start()

    def _wait(self) -> None:
        descriptors = [self.wakeup, *self.node, self.door.fileno(), *([self.owner.fileno()] if self.owner else [])]
        ready, _, _ = select.select(descriptors, [], [], self._patience_s())
        signals = set(os.read(self.wakeup, 4096)) if self.wakeup in ready else set()
        abandoned = self.owner is None and time.monotonic() > self.ownerless_since + self.ownerless_s
        self.over = abandoned or bool(signals & set(reaper.STOP_SIGNALS)) or bool(set(self.node) & set(ready))
        if self.owner and self.owner.fileno() in ready:
            self._listen(self.owner)
        if self.door.fileno() in ready:
            self._admit()

    def _patience_s(self) -> float | None:
        ends = [each.due for each in self.kept if each.process is None and not self.draining]
        if self.owner is None:
            ends.append(self.ownerless_since + self.ownerless_s)
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _admit(self) -> None:
        comer, _ = self.door.accept()
        if self.owner is None:
            self.owner = comer
            self._tell(f"mine {self.kind}")
        else:
            with contextlib.suppress(OSError), comer:
                comer.sendall(b"taken\n")

    def _listen(self, owner: socket.socket) -> None:
        words = b""
        with contextlib.suppress(OSError):
            words = owner.recv(4096)
        if b"stop" in words:
            self.over = True
        elif b"drain" in words:
            self.draining = True
            if self.kept[0].process:  # the others serve this one
                reaper.send(self.kept[0].process.pid, signal.SIGUSR1)
        elif not words:
            owner.close()
            self.owner, self.ownerless_since = None, time.monotonic()

    def _tell(self, line: str) -> None:
        if self.owner:
            with contextlib.suppress(OSError):  # gone: `_listen` hears of it
                self.owner.sendall(line.encode() + b"\n")

    def _bury(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                for each in self.kept:
                    if each.process and each.process.pid == pid:
                        self._ended(each, os.waitstatus_to_exitcode(status))

    def _ended(self, each: Kept, status: int) -> None:
        if self.draining or self.over:
            each.process = None
            self.over = self.over or each is self.kept[0]
            return
        # Workers that outlived their master would go on with the port and the configuration they have.
        masters = [other.process.pid for other in self.kept if other is not each and other.process]
        spared = {pid for master in masters for pid in [master, *reaper.descendants(master)]}
        for orphan in set(reaper.descendants(os.getpid())) - spared:
            reaper.send(orphan, signal.SIGKILL)
        each.ended(status)
        self._tell(f"ended {each.config} {status}")


if __name__ == "__main__":
    main()
