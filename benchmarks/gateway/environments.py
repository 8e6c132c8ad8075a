"""An environment for each of the other gateways, at the version that is measured; made once, and kept."""

from __future__ import annotations

import sys
from pathlib import Path

from rayllm.errors import RayllmError
from rayllm.paths import home
from rayllm.serving.prepare.uv import Uv


class MissingError(Exception):
    """A gateway that can't be installed here; it is named in the tables, not left out."""


def quiet(_: str) -> None:
    """What uv says while it works is of no interest, and what it says in the end stands in its error."""


def environment(requirement: str) -> Path:
    """The folder with the programs of an environment that holds this distribution.

    Raises:
        MissingError: it can't be installed.
    """
    place = (
        home() / "gateways" / "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in requirement)
    )
    made = place / "made"
    if not made.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            uv = Uv.find(quiet)
            uv.run(["venv", "--clear", "--python", sys.executable, str(place)], quiet)
            uv.run(["pip", "install", "--python", str(place / "bin/python"), requirement], quiet)
        except RayllmError as problem:
            raise MissingError(f"{requirement} can't be installed: {problem.cause or problem}") from problem
        made.touch()
    return place / "bin"
