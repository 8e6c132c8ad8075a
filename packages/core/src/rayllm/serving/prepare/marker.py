"""What a finished environment says of itself: a file that is written last, so that without it the build is not done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from rayllm.errors import RayllmError

MARKER = "rayllm-environment.json"
"""The file's name, in the environment's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What stands in it."""

    python: str
    """Path of its interpreter."""
    requirements: str
    """SHA-256 of what was installed."""
    uv: str
    """Version of the uv that built it."""
    date: str
    """When it was finished, UTC, ISO 8601."""
    version: str = ""
    """Of the engine, where a model asked for another than its plugin's."""


def read(folder: Path) -> Built | None:
    """The marker of an environment; None where it was not finished."""
    try:
        return Built(**json.loads((folder / MARKER).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def mark(folder: Path, built: Built) -> None:
    """Write the marker in one step.

    Raises:
        RayllmError: it can't be written.
    """
    draft = folder / f"{MARKER}.new"
    facts = asdict(built)
    if not built.version:
        del facts["version"]  # which earlier releases do not read
    try:
        draft.write_text(json.dumps(facts, indent=2) + "\n")
        draft.replace(folder / MARKER)
    except OSError as error:
        raise RayllmError(f"can't finish the environment {folder}", cause=str(error)) from error


def now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
