"""Where RayLLM keeps things on a machine."""

from __future__ import annotations

import os
from pathlib import Path

from rayllm.errors import InputError


def home() -> Path:
    """`$RAYLLM_HOME`, else `~/.rayllm`. Holds `environments/`, `models/`, `arguments/`, `clusters/` and `run/`.

    Raises:
        InputError: there is no home folder to put it in.
    """
    place = os.environ.get("RAYLLM_HOME") or "~/.rayllm"
    try:
        return Path(place).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            f"RayLLM's folder can't be {place}: there is no such home folder",
            cure="set RAYLLM_HOME to a folder that you may write to",
            topic="home",
        ) from error
