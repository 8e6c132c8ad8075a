"""Ports for engines: no two replicas of a machine ever hold the same one."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rayllm.errors import ClusterError
from rayllm.paths import home
from rayllm.serving.processes.file_lock import open_locked

FIRST, LAST = 20000, 29999
"""Above Ray's workers (10002 to 19999), below Serve's own ports (30000) and Linux' ephemeral range (32768)."""


@dataclass(frozen=True, slots=True)
class HeldPort:
    """A port that is ours until it is released, or until this process ends."""

    number: int
    _lock: IO[str]

    def release(self) -> None:
        """Let others have it."""
        self._lock.close()


def hold_port(host: str = "127.0.0.1") -> HeldPort:
    """Reserve a free TCP port on `host`.

    The reservation is an flock on a file named after the port, so it covers the time until the engine has bound it.

    Raises:
        ClusterError: every port of the range is taken.
    """
    folder = home() / "run" / "ports"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    low, high = _ephemeral_range()
    numbers = [n for n in range(FIRST, LAST + 1) if not low <= n <= high]
    start = random.randrange(len(numbers)) if numbers else 0  # noqa: S311  spreads replicas, guards nothing
    for number in numbers[start:] + numbers[:start]:
        if lock := open_locked(folder / str(number)):
            if _is_free(host, number):
                return HeldPort(number, lock)
            lock.close()
    raise ClusterError(
        f"no free port from {FIRST} to {LAST} on {host} of {socket.gethostname()}",
        cure="stop what holds them, or narrow net.ipv4.ip_local_port_range if it covers them",
    )


def _is_free(host: str, number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError:
            return False
        return True


def _ephemeral_range() -> tuple[int, int]:
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    except OSError:
        return 32768, 60999
    return int(low), int(high)
