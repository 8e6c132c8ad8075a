"""Where the programs of a pod listen."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence

from rayllm.errors import ClusterError
from rayllm.serving.processes.ports import hold_port

LOOPBACK = "127.0.0.1"
GCS = 6379
"""Ray's own choice."""

log = logging.getLogger("rayllm.cai")


def for_application(ports: Sequence[int]) -> int:
    """The first of the application's ports that nobody has: the platform's own launcher may hold one.

    Raises:
        ClusterError: all of them are taken.
    """
    for port in ports:
        if is_free(LOOPBACK, port):
            log.info("answering on port %s", port)
            return port
        log.warning("port %s is held by another program of the pod", port)
    raise ClusterError(
        f"every port of the application is taken: {', '.join(map(str, ports))}",
        cause="a program of the platform, or an earlier start, listens there",
    )


def for_gcs(address: str) -> int:
    """The usual port where nobody of this pod has it, else a free one."""
    return GCS if is_free(address, GCS) else spare(address)


def spare(address: str = LOOPBACK) -> int:
    """A port that nobody has just now."""
    held = hold_port(address)
    held.release()
    return held.number


def is_free(address: str, port: int) -> bool:
    """Whether one can listen there.

    Raises:
        OSError: not for another's sake.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True
