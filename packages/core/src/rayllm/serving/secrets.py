"""Secrets on a node: one file each, readable by the user that runs Ray alone. Configs hold their names only."""

from __future__ import annotations

from pathlib import Path

from rayllm.errors import RayllmError
from rayllm.paths import home


def secret(name: str) -> str | None:
    """The value of the secret `name` on this node; None if it has none.

    Raises:
        RayllmError: its file can't be read.
    """
    file = place_of(name)
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        cure = "it must be readable by the user that runs Ray; `rayllm up` lays it anew where the backend can"
        raise RayllmError(
            f"the secret {name} can't be read from {file}", cause=cause, cure=cure, topic="home"
        ) from None


def place_of(name: str) -> Path:
    """The file with the value of the secret `name`."""
    return home() / "secrets" / name
