"""Commands that a text names are those of the person's own file: what `-f prod.yaml` was given to can be copied."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

COMMANDS = (
    "validate|plan|pull|up|status|logs|chat|scale|down|doctor|render"
    "|adapters (?:add|list|remove)|keys (?:add|list|rotate|revoke|usage)|nodes (?:list|scale|logs)"
)
"""Those that read the deployment's file."""
_NAMED = re.compile(rf"\brayllm (?:{COMMANDS})\b(?! (?:-f|--file)\b)")
_told: list[str] = []
"""What the person said, as a shell reads it; empty where it was nothing."""


def remember(file: Path) -> Path:
    """Take note of the file that the command got, be it by default."""
    from rayllm.cli.options import DEFAULT_FILE

    _told[:] = [] if file == DEFAULT_FILE else [shlex.quote(str(file))]
    return file


def with_file(text: str) -> str:
    """The text, with the person's `-f FILE` in every command that it names without one."""
    return _NAMED.sub(lambda found: f"{found[0]} -f {_told[0]}", text) if _told else text
