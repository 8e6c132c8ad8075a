"""The gateway's port: one deployment has it, though HAProxies may share a port without a word (SO_REUSEPORT)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import IO

from rayllm.errors import ClusterError
from rayllm.paths import run
from rayllm.serving.processes.file_lock import take

_PATIENCE_S = 3.0
"""How long a predecessor that was killed may take to let the port go."""
_LISTEN = "0A"


class PortClaim:
    """A port that this deployment has until `release`, or until this process ends, and all that inherited the claim.

    The claim is a shared flock on `ports/PORT` of `rayllm.paths.run()`, with the deployment's name in the file: a
    second gateway of the same deployment, or its door, may share it, nobody else may.
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
        folder = run() / "ports"
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


def holder(host: str, port: int) -> str | None:
    """The program that listens there: its name and pid, None where /proc does not tell."""
    found = listeners(host, port)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and found & sockets_of(int(process.name)):
            with contextlib.suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def listens(pid: int, host: str, port: int) -> bool:
    """Whether this process listens there; False for one that ended or is another user's."""
    return bool(listeners(host, port) & sockets_of(pid))


def sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets that a process has open; none for one that ended or is another user's."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                kind, _, inode = os.readlink(descriptor).partition(":")  # noqa: PTH115  not a path
                if kind == "socket":
                    found.add(inode.strip("[]"))
    return found


def listeners(host: str, port: int) -> set[str]:
    """Inodes of the sockets that listen on `port` of `host`, or of all addresses.

    Where `host` stands for all addresses it is who listens on any of them.

    Raises:
        OSError: `host` has no address.
    """
    wanted = {ip_address(address[4][0]) for address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):  # no IPv6 here
            for line in Path("/proc/net", table).read_text().splitlines():
                _, local, _, state, *rest = line.split()
                at, _, number = local.rpartition(":")
                if state == _LISTEN and int(number, 16) == port and _meets(_address(at), wanted):
                    inodes.add(rest[5])
    return inodes


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
            raise _in_use(host, port, f"by {name}" if (name := holder(host, port)) else None)
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


def _address(text: str) -> IPv4Address | IPv6Address:
    """As the kernel prints it: words of 32 bits, each with its bytes in the machine's order."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    found = ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words))
    return (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found


def _meets(found: IPv4Address | IPv6Address, wanted: set[IPv4Address | IPv6Address]) -> bool:
    return found in wanted or found.is_unspecified or any(each.is_unspecified for each in wanted)
