"""The gateway's port: one deployment has it, though HAProxies may share a port without a word (SO_REUSEPORT)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from rayllm.errors import ClusterError
from rayllm.paths import home
from rayllm.serving.processes.file_lock import take

_PATIENCE_S = 3.0
"""How long a predecessor that was killed may take to let the port go."""
_LISTEN = "0A"


class PortClaim:
    """A port that this deployment has until `release`, or until this process ends, and all that inherited the claim.

    The claim is a shared flock on `run/ports/PORT` of RayLLM's home, with the deployment's name in the file: a second
    gateway of the same deployment may share it for as long as an update takes, nobody else may.
    """

    def __init__(self, lock: IO[str]) -> None:
        self.lock = lock
        """A process that inherits it holds the claim, too."""

    @classmethod
    def take(cls, deployment: str, host: str, port: int) -> PortClaim:
        """Claim `port`.

        Raises:
            ClusterError: another deployment or another program has it, or `host` is not an address of this machine.
        """
        folder = home() / "run" / "ports"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ExitStack() as stack:
            lock = stack.enter_context((folder / str(port)).open("a+", encoding="utf-8"))
            if take(lock):
                _wait_until_free(host, port)
                lock.truncate(0)
                lock.write(deployment)
                lock.flush()
            # Going from an exclusive to a shared lock is two steps: the name is read again behind them.
            shared = take(lock, fcntl.LOCK_SH)
            lock.seek(0)
            if (other := lock.read()) != deployment or not shared:
                if shared and other:
                    raise _in_use(host, port, f"by the deployment {other}", f"`rayllm down` with `name: {other}`")
                raise _in_use(host, port, "by another replica")
            stack.pop_all()
        return cls(lock)

    def release(self) -> None:
        """Let others have the port."""
        self.lock.close()


def holder(port: int) -> str | None:
    """The program that listens on `port`: its name and pid, None where /proc does not tell."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and listens(int(process.name), port):
            with contextlib.suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def listens(pid: int, port: int) -> bool:
    """Whether this process listens on `port`; False for one that ended or is another user's."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    with contextlib.suppress(OSError):
        for descriptor in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.readlink(descriptor) in sockets:  # noqa: PTH115  not a path
                    return True
    return False


def _wait_until_free(host: str, port: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while error := _bind_error(host, port):
        if error.errno != errno.EADDRINUSE:
            raise ClusterError(
                f"the gateway can't listen on port {port} of {host}",
                cause=error.strerror or str(error),
                cure="set gateway.host and gateway.port to an address of this machine and a free port from 1024 up",
                topic="port-in-use",
            ) from error
        if time.monotonic() > end:
            raise _in_use(host, port, f"by {name}" if (name := holder(port)) else None)
        time.sleep(0.05)


def _bind_error(host: str, port: int) -> OSError | None:
    """Why a program that shares nothing could not listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error
    return None


def _in_use(host: str, port: int, by: str | None, stop: str = "stop what listens there") -> ClusterError:
    return ClusterError(
        f"port {port} on {host} is in use" + (f" {by}" if by else ""),
        cure=f"{stop}, or set gateway.port to another port",
        topic="port-in-use",
    )


def _listening(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
