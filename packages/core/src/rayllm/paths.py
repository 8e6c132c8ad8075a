"""Where RayLLM keeps things on a machine."""

from __future__ import annotations

import os
from pathlib import Path

from rayllm.errors import InputError


def home() -> Path:
    """`$RAYLLM_HOME`, else `~/.rayllm`. Holds `environments/`, `models/`, `arguments/`, `records/` and `clusters/`.

    Several nodes may share it, as on a network's disk.

    Raises:
        InputError: there is no home folder to put it in.
    """
    return _folder("RAYLLM_HOME", os.environ.get("RAYLLM_HOME") or "~/.rayllm")


def run() -> Path:
    """`$RAYLLM_RUN`, else `run/` of `home()`: sockets and locks of what runs on this node, and no other's.

    A disk that several nodes share can hold neither: a socket there has nobody behind it on the other nodes, and each
    node has ports of its own.

    Raises:
        InputError: there is no home folder to put it in.
    """
    place = os.environ.get("RAYLLM_RUN")
    return _folder("RAYLLM_RUN", place) if place else home() / "run"


def _folder(variable: str, place: str) -> Path:
    try:
        return Path(place).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"RayLLM's folder can't be {place}: there is no such home folder",
            cure=f"set {variable} to a folder that you may write to",
            topic="home",
        ) from error
