"""Ports for engines: no two replicas of a machine ever hold the same one."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rayllm.errors import ClusterError
from rayllm.paths import run
from rayllm.serving.processes.file_lock import open_locked

FIRST, LAST = 20000, 29999
"""Above Ray's workers (10002 to 19999), below Serve's own ports (30000) and Linux' ephemeral range (32768)."""


@dataclass(frozen=True, slots=True)
class HeldPort:
    """A port, or several in a row, that are ours until they are released, or until this process ends."""

    number: int
    """The first."""
    _locks: ExitStack

    def release(self) -> None:
        """Let others have it."""
        self._locks.close()


def hold_port(host: str = "127.0.0.1", count: int = 1) -> HeldPort:
    """Reserve a free TCP port on `host`, or `count` of them in a row.

    The reservation is an flock on a file named after the port, so it covers the time until the engine has bound it.

    Raises:
        ClusterError: every port of the range is taken.
    """
    folder = run() / "ports"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    low, high = _ephemeral_range()
    numbers = [n for n in range(FIRST, LAST + 1) if not low <= n <= high]
    start = random.randrange(len(numbers)) if numbers else 0  # noqa: S311  spreads replicas, guards nothing
    for number in numbers[start:] + numbers[:start]:
        if number + count - 1 <= LAST and (locks := _hold(folder, host, range(number, number + count))):
            return HeldPort(number, locks)
    raise ClusterError(
        f"no free port from {FIRST} to {LAST} on {host} of {socket.gethostname()}",
        cure="stop what holds them, or narrow net.ipv4.ip_local_port_range if it covers them",
    )


def _hold(folder: Path, host: str, numbers: range) -> ExitStack | None:
    """The locks of all these ports; None if one of them is another's."""
    with ExitStack() as locks:
        for number in numbers:
            if (lock := open_locked(folder / str(number))) is None:
                return None
            locks.enter_context(lock)
            if not _is_free(host, number):
                return None
        return locks.pop_all()


def _is_free(host: str, number: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
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
