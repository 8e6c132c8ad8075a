"""Clearing up after a cluster, however it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import time
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.paths import run
from rayllm.serving.processes.supervised import sweep
from rayllm_backend_local import processes
from rayllm_backend_local.state import Folder, State

STOP_S = 20.0
"""Seconds the supervisor may take to end its nodes before it is killed."""
_AGENTS_S = 10.0


def clear(folder: Folder) -> None:
    """End every process of the cluster and remove its files, all but its logs. Does nothing if there is nothing."""
    if state := folder.state():
        processes.end(state.supervisor, grace_s=STOP_S)
        sweep(folder.marker(state))
        _end_agents(folder)
        _keep_logs(folder, state)
        shutil.rmtree(state.temp_dir, ignore_errors=True)
        shutil.rmtree(run() / folder.name, ignore_errors=True)  # the gateway's, with internal keys
    folder.forget()


def temp_dir(cluster_id: str) -> Path:
    """Path of a new folder for Ray: short, since the paths of Unix sockets are, in a folder of this user alone.

    Raises:
        ClusterError: somebody else could enter that folder.
    """
    base = Path("/tmp") / f"rayllm-{os.getuid()}"  # noqa: S108  checked below
    base.mkdir(mode=0o700, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ClusterError(
            f"{base} is not a folder that only you can enter",
            cure=f"remove it, or: chmod 700 {base}",
            topic="local-start",
        )
    return base / cluster_id


def _end_agents(folder: Folder) -> None:
    """Kill Ray's agents, which overwrite their environment with their title but keep the folder they started in."""
    end = time.monotonic() + _AGENTS_S
    while (pids := _agents(folder.path.resolve())) and time.monotonic() < end:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _agents(folder: Path) -> list[int]:
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                here = (entry / "cwd").resolve() == folder
                if here and (entry / "cmdline").read_bytes().startswith((b"ray::", b"ray-dashboard")):
                    pids.append(int(entry.name))
    return pids


def _keep_logs(folder: Folder, state: State) -> None:
    """Move Ray's own logs beside ours: they tell why something went wrong after all else is gone."""
    head = Path(state.temp_dir)
    for node in [head, *head.glob("w*")]:
        kept = folder.logs / ("ray" if node == head else f"ray-{node.name}")
        with contextlib.suppress(OSError, shutil.Error):
            latest = (node / "session_latest" / "logs").resolve(strict=True)
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(latest, kept)
