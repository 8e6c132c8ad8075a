"""The right to change a deployment, which one operator has at a time. Its gateway grants it."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rayllm.errors import ClusterError

if TYPE_CHECKING:
    from rayllm.cluster.admin_api import AdminApi

_HOLDER = re.compile(r"@(?P<host>.*) \(pid (?P<pid>\d+)\)(#\w+)?$")


@contextmanager
def lease(admin: AdminApi, name: str) -> Iterator[Callable[[], bool]]:
    """Hold the right to change a deployment; yields what renews it, and says whether it was granted only now.

    The gateway that grants it may not be there yet: then nobody is kept out until it comes up.

    Raises:
        ClusterError: somebody else has it.
    """
    held, holder = False, new_holder()

    def keep() -> bool:
        nonlocal held
        owner, before = admin.acquire(holder), held
        if owner not in {None, holder} and _is_dead(str(owner)):
            owner = admin.acquire(holder, instead_of=str(owner))
        if owner not in {None, holder}:
            shown = str(owner).partition("#")[0]
            raise ClusterError(
                f"{name} is being changed by {shown}",
                cure="wait until it is done, then run it again",
                topic="another-operator",
            )
        held = held or owner == holder
        return held and not before

    try:
        keep()
        yield keep
    finally:
        admin.release(holder)


def new_holder() -> str:
    """Who is at work, for others who want to know whom to ask; another name for every piece of work."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, a user often has a number alone
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()} (pid {os.getpid()})#{secrets.token_hex(4)}"


def _is_dead(holder: str) -> bool:
    """True if the process was one of this machine and is gone: killed, it could not give the right back."""
    found = _HOLDER.search(holder)
    if not found or found["host"] != socket.gethostname():
        return False
    return int(found["pid"]) != os.getpid() and Path("/proc/self").exists() and not Path("/proc", found["pid"]).exists()
