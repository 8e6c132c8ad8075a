"""The end of an engine's log: what it said last, and the line that names its error."""

from __future__ import annotations

import re
from pathlib import Path

_ERROR = re.compile(r"(?:^|\s)((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)): (.+)")
_TRACEBACK = "Traceback (most recent call last)"
_READ = 64 * 1024


def tail(path: Path, lines: int = 200) -> list[str]:
    """The last `lines` lines of a file that may be large or absent."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _READ))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    found = text.splitlines()
    whole = found[1:] if size > _READ and len(found) > 1 else found  # the first line is cut
    return [line for line in whole if line.strip()][-lines:]


def error_of(lines: list[str]) -> str:
    """The error that explains a failed start: the first that follows a traceback, else the first, else the last lines.

    Engines end with a wrapper, "RuntimeError: Engine core initialization failed": the first error is the cause. Before
    it, they mention errors that they get along with.
    """
    first = next((number for number, line in enumerate(lines) if _TRACEBACK in line), 0)
    for line in lines[first:] + lines[:first]:
        if match := _ERROR.search(line):
            return f"{match[1]}: {match[2].strip()}"
    return "\n".join(lines[-5:])
