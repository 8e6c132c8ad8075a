"""The end of an engine's log: what it said last, and the line that names its error."""

from __future__ import annotations

import re
from pathlib import Path

_ERROR = re.compile(r"(?:^|\s)((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)): (.+)")
_READ = 64 * 1024


def tail(path: Path, lines: int = 200) -> list[str]:
    """The last `lines` lines of a file that may be large or absent."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _READ))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def error_of(lines: list[str]) -> str:
    """The error that explains a failed start: the first of the last traceback's chain, else the last lines."""
    found = [f"{match[1]}: {match[2].strip()}" for line in lines if (match := _ERROR.search(line))]
    # Engines end with a wrapper, "RuntimeError: Engine core initialization failed": the first error is the cause.
    return found[0] if found else "\n".join(lines[-5:])
