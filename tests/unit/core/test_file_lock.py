"""A lock between processes that outlives a killed holder while its child still works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rayllm.serving.processes.file_lock import locked, look_anew

HOLDER = """
import subprocess, sys
from pathlib import Path
from rayllm.serving.processes.file_lock import locked
with locked(Path(sys.argv[1]), print, "nobody") as handle:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, stdout=subprocess.DEVNULL, pass_fds=[handle])
    print(child.pid, flush=True)
    child.wait()
"""


def test_a_child_holds_the_lock_of_its_killed_parent(tmp_path: Path) -> None:
    """The next one waits, and says so, until the child is gone; then the lock is free."""
    lock = tmp_path / "deep" / "lock"
    argv = [sys.executable, "-c", HOLDER, str(lock)]
    told: list[str] = []

    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
        holder.wait()

        def report(detail: str) -> None:
            told.append(detail)
            os.kill(child, 9)

        with locked(lock, report, "the child"):
            assert told == ["waiting for the child"]


def test_a_free_lock_is_taken_silently(tmp_path: Path) -> None:
    """Also after an earlier holder left its file behind."""
    told: list[str] = []
    for _ in range(2):
        with locked(tmp_path / "lock", told.append, "nobody"):
            pass
    assert told == []


def test_what_others_made_meanwhile_is_seen(tmp_path: Path) -> None:
    """The folder is changed, and as it was: so the kernel asks a network's disk what is there by now."""
    (tmp_path / "lock").touch()
    os.utime(tmp_path, (0, 0))
    with locked(tmp_path / "lock", print, "nobody"):
        assert tmp_path.stat().st_mtime > 0
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    look_anew(tmp_path / "not there")
