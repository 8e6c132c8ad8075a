"""Runs one program so that nothing of it outlives its owner. A script of its own: the standard library only.

    python -I reaper.py GRACE_S PROGRAM [ARGUMENT...]

Standard input is a pipe from the owner: a number on a line asks for a stop with that grace in seconds, its end asks for
a stop with GRACE_S. Standard output tells the owner `pid N`, then `exit STATUS TIME`, or `error ERRNO TEXT`; its end
says that all descendants are gone. Standard error is the program's log.

Every orphan among the descendants becomes this process's child (PR_SET_CHILD_SUBREAPER), whatever session it moved to;
the program itself dies with this process (PR_SET_PDEATHSIG, safe here because this process has one thread).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MOST_FILES = 1 << 20
"""Enough for any server; an unlimited hard limit would make programs that close every descriptor crawl."""
KILL_EVERY_S = 0.05
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

prctl = ctypes.CDLL(None).prctl


def main() -> None:
    """Start the program, watch it, clear up behind it."""
    grace_s, argv = float(sys.argv[1]), sys.argv[2:]
    wakeup = prepare()
    try:
        program = start(argv, environment(), 2)
    except OSError as error:
        tell(f"error {error.errno} {error.strerror}")
        return
    tell(f"pid {program.pid}")
    Reaper(program, grace_s, wakeup).run()


def prepare() -> int:
    """Take over orphans, undo what a Ray worker passes on to its children; returns where signals show up."""
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    for number in (signal.SIGCHLD, *STOP_SIGNALS):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    return reading


def environment() -> dict[bytes, bytes]:
    """Exactly the environment that this process was started with."""
    # os.environ may have gained LC_CTYPE from the interpreter; the kernel's copy has not.
    pairs = (pair.partition(b"=") for pair in Path("/proc/self/environ").read_bytes().split(b"\0") if pair)
    return {key: value for key, _, value in pairs}


def start(argv: list[str], env: dict[bytes, bytes], stdout: int) -> subprocess.Popen[bytes]:
    """Start a program that dies with this process."""
    parent = os.getpid()

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl took effect
            os._exit(1)
        for number in signal.valid_signals():
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)

    # A session of its own: a program that kills its own process group must not take the reaper along.
    return subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        start_new_session=True,
        preexec_fn=in_child,  # noqa: PLW1509 - safe with one thread
    )


def tell(line: str) -> None:
    """Tell the owner, if there still is one."""
    with contextlib.suppress(OSError):
        os.write(1, line.encode() + b"\n")


class Reaper:
    """Waits for the owner, for signals and for children; then ends what is left."""

    def __init__(self, program: subprocess.Popen[bytes], grace_s: float, wakeup: int) -> None:
        # Kept until it is buried: a Popen that is let go takes the status of a child that has ended along.
        self.program = program
        self.leader: int | None = program.pid
        self.grace_s = grace_s
        self.deadline: float | None = None
        self.wakeup = wakeup
        self.sources = [0, wakeup]

    def run(self) -> None:
        """Return when no descendant is left."""
        while self.collect():
            left = None if self.deadline is None else self.deadline - time.monotonic()
            if left is not None and left <= 0:
                for pid in descendants(os.getpid()):
                    send(pid, signal.SIGKILL)
                left = KILL_EVERY_S
            ready, _, _ = select.select(self.sources, [], [], left)
            if self.wakeup in ready and set(os.read(self.wakeup, 4096)) & set(STOP_SIGNALS):
                self.stop(self.grace_s)
            if 0 in ready:
                self.listen()

    def listen(self) -> None:
        """Read what the owner wants."""
        words = os.read(0, 4096).split()
        if not words:
            self.sources.remove(0)
        self.stop(min(map(float, words)) if words else self.grace_s)

    def stop(self, grace_s: float) -> None:
        """Ask the leader, or what it left behind, to end; the nearest deadline counts."""
        deadline = time.monotonic() + grace_s
        if self.deadline is None:
            for pid in [self.leader] if self.leader else descendants(os.getpid()):
                send(pid, signal.SIGTERM)
        self.deadline = min(deadline, self.deadline or deadline)

    def collect(self) -> bool:
        """Bury the dead; False when there is nobody left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self.leader:
                self.leader = None
                self.program.returncode = os.waitstatus_to_exitcode(status)
                tell(f"exit {self.program.returncode} {time.time()}")
                if self.deadline is None:
                    self.stop(self.grace_s)
                else:  # it was asked to stop; what it did not end itself is asked now
                    for left in descendants(os.getpid()):
                        send(left, signal.SIGTERM)


def send(pid: int, number: int) -> None:
    """Signal one process, which may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def descendants(root: int) -> list[int]:
    """All processes below `root`, children first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything; the parent's pid is the second field after it.
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, []))
    return found[1:]


if __name__ == "__main__":
    main()
