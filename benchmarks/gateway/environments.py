"""An environment for each of the other gateways, at the version that is measured; made once, and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.gateway.processes import MissingError

from rayllm.paths import home


def environment(requirement: str) -> Path:
    """The folder with the programs of an environment that holds this distribution.

    Raises:
        MissingError: it can't be installed.
    """
    name = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in requirement)
    place = home() / "gateways" / name
    made = place / "made"
    if not made.exists():
        python = str(place / "bin/python")
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(place)],
            [python, "-m", "pip", "install", "-q", "--no-compile", requirement],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise MissingError(f"{requirement} can't be installed: {done.stderr.strip()[-500:]}")
        made.touch()
    return place / "bin"
