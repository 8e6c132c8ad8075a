"""The reaper and its owner, with real processes that are killed in every way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rayllm.serving.processes import reaper
from rayllm.serving.processes.supervised import OWNER, Supervised, marked, sweep

WAIT_S = 10.0
OF_LIBC = 0b11 << 31
"""Signals 32 and 33, which glibc keeps for itself: what it spawns ignores them, and no program can ask for them."""
ENV = {"PATH": os.environ["PATH"]}
# A leader with three descendants: a child, one in a session of its own, and one whose parent has ended.
FAMILY = "sleep 600 & setsid sleep 601 & (sleep 602 &) ; echo up; exec sleep 603"


def until(true: Callable[[], object], what: str) -> None:
    """Wait until it is true."""
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.01)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[str]:
    """A marker of this test's own; what it left is killed."""
    mine = f"test:{os.getpid()}:{tmp_path.name}"
    yield mine
    sweep(mine)


def family(marker: str, log: Path) -> Supervised:
    """Start the family and wait for all of it: the reaper, the leader and three others."""
    started = Supervised.start(["sh", "-c", FAMILY], env=ENV, log=log, marker=marker, grace_s=5)
    until(lambda: len(marked(marker)) == 5 and commands(marker).count("sleep") == 4, "five processes")
    return started


def commands(marker: str) -> list[str]:
    """Names of the programs that carry the marker."""
    names = []
    for pid in marked(marker):
        with contextlib.suppress(OSError):
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return names


def test_killed_leader_takes_all_descendants_along(marker: str, tmp_path: Path) -> None:
    """Kill -9 of the program ends child, setsid'ed child and orphan, and the exit status tells the signal."""
    started = family(marker, tmp_path / "log")
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait(WAIT_S) == -signal.SIGKILL
    until(lambda: not marked(marker), "everything gone")
    started.stop()


def test_killed_owner_takes_all_along(marker: str, tmp_path: Path) -> None:
    """Kill -9 of the owner ends the program and all its descendants, with nobody left to ask for it."""
    code = (
        "import sys, time; from pathlib import Path; from rayllm.serving.processes.supervised import Supervised\n"
        f"Supervised.start(['sh', '-c', {FAMILY!r}], env={ENV!r}, log=Path({str(tmp_path / 'log')!r}),"
        f" marker={marker!r})\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        until(lambda: commands(marker).count("sleep") == 4, "the family")
        owner.kill()
    until(lambda: not marked(marker), "everything gone")


def test_killed_reaper(marker: str, tmp_path: Path) -> None:
    """Kill -9 of the reaper ends the program, poll reports it, and stop removes what is left."""
    started = family(marker, tmp_path / "log")
    os.kill(started.reaper_pid, signal.SIGKILL)
    assert started.wait(WAIT_S) == -signal.SIGKILL
    until(lambda: started.pid not in marked(marker), "the leader gone")
    assert marked(marker)
    started.stop()
    assert not marked(marker)


def test_sweep_when_owner_and_reaper_are_gone(marker: str, tmp_path: Path) -> None:
    """Sweep finds what the marker names, and nothing else."""
    started = family(marker, tmp_path / "log")
    other = Supervised.start(["sleep", "604"], env=ENV, log=tmp_path / "log", marker=f"other-{marker}")
    os.kill(started.reaper_pid, signal.SIGKILL)
    until(lambda: len(marked(marker)) == 3, "the three that the leader left")
    assert len(sweep(marker)) == 3
    assert sweep(marker) == []
    assert other.poll() is None
    other.stop()
    started.stop()


def test_stop_escalates(marker: str, tmp_path: Path) -> None:
    """A program that ignores SIGTERM is killed after the grace that stop was given."""
    log = tmp_path / "log"
    started = Supervised.start(
        ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], env=ENV, log=log, marker=marker, grace_s=60
    )
    until(lambda: log.read_text() == "up\n", "the trap")
    began = time.monotonic()
    started.stop(grace_s=0.5)
    assert 0.5 <= time.monotonic() - began < WAIT_S
    assert started.poll() == -signal.SIGKILL
    assert not marked(marker)


def test_stop_lets_a_program_end_itself(marker: str, tmp_path: Path) -> None:
    """SIGTERM reaches the leader alone at first, its own exit status is kept, and stop may be called again."""
    log = tmp_path / "log"
    started = Supervised.start(
        ["sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; sleep 600 & wait"], env=ENV, log=log, marker=marker
    )
    until(lambda: log.read_text() == "up\n", "the trap")
    started.stop()
    started.stop()
    assert started.poll() == 7
    assert log.read_text() == "up\nbye\n"
    assert not marked(marker)


def test_exit_status_and_log(marker: str, tmp_path: Path) -> None:
    """Exit status and lines of both streams are kept, behind what the log already held."""
    log = tmp_path / "log"
    log.write_text("before\n")
    started = Supervised.start(["sh", "-c", "echo out; echo err >&2; exit 3"], env=ENV, log=log, marker=marker)
    assert started.wait(WAIT_S) == 3
    assert 0 <= time.time() - started.ended_at < WAIT_S
    started.stop()
    assert started.poll() == 3
    assert log.read_text() == "before\nout\nerr\n"


def test_a_program_that_ends_before_it_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit status is still there to be read: on a busy machine it may be over before the reaper looks."""
    starts = subprocess.Popen

    def and_ends(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        program = starts(*args, **options)
        until(lambda: " Z " in Path(f"/proc/{program.pid}/stat").read_text(), "the program's end")
        return program

    monkeypatch.setattr(subprocess, "Popen", and_ends)
    said: list[str] = []
    monkeypatch.setattr(reaper, "tell", said.append)
    monkeypatch.setattr(reaper, "prepare", lambda: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(sys, "argv", ["reaper.py", "1", "sh", "-c", "exit 3"])
    reaper.main()
    assert [line.rpartition(" ")[0] for line in said[1:]] == ["exit 3"], "with the time behind it"


def test_environment_is_what_was_passed(marker: str, tmp_path: Path) -> None:
    """Nothing is inherited, nothing is added but the marker; the working folder is the one asked for."""
    log = tmp_path / "log"
    started = Supervised.start(["/usr/bin/env", "-0"], env={"A": "b c", "Ä": "ö"}, log=log, marker=marker, cwd=tmp_path)
    started.wait(WAIT_S)
    started.stop()
    pairs = dict(pair.split("=", 1) for pair in log.read_text().split("\0") if pair)
    assert pairs.pop(OWNER).startswith(f"{marker}/")
    assert pairs == {"A": "b c", "Ä": "ö"}


def test_what_a_ray_worker_passes_on_is_undone(marker: str, tmp_path: Path) -> None:
    """Blocked and ignored signals and a low limit of open files do not reach the program."""
    log = tmp_path / "log"
    code = (
        "import resource, signal; from pathlib import Path\n"
        "from rayllm.serving.processes.supervised import Supervised\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]); signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        f"p = Supervised.start(['sh', '-c', 'ulimit -n; grep -E \"Sig(Blk|Ign)\" /proc/self/status'], env={ENV!r},"
        f" log=Path({str(log)!r}), marker={marker!r})\np.wait(10); p.stop()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    limit, blocked, ignored = log.read_text().splitlines()
    assert int(limit) > 64
    assert [int(line.split()[1], 16) & ~OF_LIBC for line in (blocked, ignored)] == [0, 0]


def test_start_fails_like_popen(marker: str, tmp_path: Path) -> None:
    """A program that is not there, or may not be run, is an OSError with the system's own words."""
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        Supervised.start(["no-such-program"], env=ENV, log=tmp_path / "log", marker=marker)
    with pytest.raises(PermissionError):
        Supervised.start([str(tmp_path)], env=ENV, log=tmp_path / "log", marker=marker)
    until(lambda: not marked(marker), "no reaper left")


def test_many_threads(marker: str, tmp_path: Path) -> None:
    """A program outlives the thread that started it, and ten threads start and stop at once."""
    started: list[Supervised] = []

    def start() -> None:
        started.append(Supervised.start(["sleep", "605"], env=ENV, log=tmp_path / "log", marker=marker))

    threads = [threading.Thread(target=start) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [one.poll() for one in started] == [None] * 10
    assert len(marked(marker)) == 20
    with pytest.raises(TimeoutError):
        started[0].wait(0.01)
    threads = [threading.Thread(target=one.stop) for one in started]
    for thread in threads:
        thread.start()
    for one, thread in zip(started, threads, strict=True):
        assert one.wait(WAIT_S) == -signal.SIGTERM
        thread.join(WAIT_S)
    assert not marked(marker)
