"""HAProxy's own command line: its sockets in a gateway's folder."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.serving.haproxy.places import MASTER_SOCKET, RUNTIME_SOCKET
from rayllm.serving.haproxy.port_claim import listens

_ANSWER_S = 30.0
"""A reload reads the whole configuration before it answers."""
_WORKER_S = 1.0
_HAND_OVER_S = 10.0
_DEAF_S = 5.0


def ask(run_dir: Path, name: str, command: str, timeout_s: float = _ANSWER_S) -> str:
    """Say one command to one of HAProxy's sockets; returns the whole answer.

    Raises:
        OSError: nobody listens there, or the answer takes too long.
    """
    with connected(run_dir, name, timeout_s) as line:
        line.sendall(command.encode() + b"\n")
        line.shutdown(socket.SHUT_WR)  # the master answers until it is left
        parts = []
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts).decode(errors="replace")


def connected(run_dir: Path, name: str, timeout_s: float) -> socket.socket:
    """A connection to one of the sockets in a gateway's folder.

    Raises:
        OSError: nobody listens there.
    """
    with short_path(run_dir) as folder:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.settimeout(timeout_s)
            line.connect(f"{folder}/{name}")
        except OSError:
            line.close()
            raise
    return line


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """A path of the folder through a descriptor: that of a socket has at most 107 bytes, the folder's may have more.

    Raises:
        OSError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def serves(run_dir: Path) -> bool:
    """Whether a worker and its master answer."""
    try:
        return "Stopping: 0" in ask(run_dir, RUNTIME_SOCKET, "show info") and bool(_ask_master(run_dir, "show proc"))
    except OSError:
        return False


def accepts(run_dir: Path, name: str) -> bool:
    """Whether somebody listens at one of the sockets in a gateway's folder."""
    try:
        connected(run_dir, name, _WORKER_S).close()
    except OSError:
        return False
    return True


def busy(run_dir: Path) -> bool:
    """Whether a worker, new or old, has a request in flight; connections that are kept alive don't count."""
    try:
        pids = _workers(run_dir)
    except OSError:  # the master is gone
        return False
    try:
        return any(" fe=gateway " in ask(run_dir, MASTER_SOCKET, f"@!{pid} show sess", _WORKER_S) for pid in pids)
    except OSError:  # a worker that is just ending leaves the master without an answer
        return True


def reload(run_dir: Path, host: str, port: int) -> None:
    """Make the front door read its configuration again; returns when only the new worker takes connections.

    Args:
        run_dir: where it runs.
        host: where it listens.
        port: likewise.

    Raises:
        ClusterError: HAProxy refused, and goes on as it was; its own words are the cause.
        OSError: the master does not answer.
    """
    before = _workers(run_dir)
    reload_master(run_dir, MASTER_SOCKET)
    # The old worker hears of it a moment later, and until then takes connections under the old configuration.
    end = time.monotonic() + _HAND_OVER_S
    while any(listens(pid, host, port) for pid in before):
        if time.monotonic() > end:
            raise ClusterError(f"HAProxy's old worker still takes connections {_HAND_OVER_S:g} s after a reload")
        time.sleep(0.005)


def reload_master(run_dir: Path, master: str) -> None:
    """Make one HAProxy read its configuration again.

    Raises:
        ClusterError: it refused, and goes on as it was; its own words are the cause.
        OSError: it does not answer.
    """
    answer = _ask_master(run_dir, "reload", master)
    if not answer.startswith("Success=1"):
        _, _, said = answer.partition("--\n")
        raise ClusterError("HAProxy refuses the gateway's configuration", cause=said.strip(), topic="gateway")


def _ask_master(run_dir: Path, command: str, master: str = MASTER_SOCKET) -> str:
    # The master executes itself anew after it has read its configuration, and is deaf for that moment.
    end = time.monotonic() + _DEAF_S
    while True:
        try:
            return ask(run_dir, master, command)
        except (ConnectionError, FileNotFoundError):
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _workers(run_dir: Path) -> list[int]:
    processes = _ask_master(run_dir, "show proc")
    return [int(pid) for pid in re.findall(r"^(\d+)\s+worker", processes, re.MULTILINE)]
