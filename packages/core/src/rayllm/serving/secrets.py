"""Secrets on a node: one file each, readable by the user that runs Ray alone. Configs hold their names only."""

from __future__ import annotations

from rayllm.paths import home


def secret(name: str) -> str | None:
    """The value of the secret `name` on this node, from `$RAYLLM_HOME/secrets/NAME`; None if there is no such file."""
    try:
        return (home() / "secrets" / name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
