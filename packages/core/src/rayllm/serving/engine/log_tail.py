"""The end of an engine's log: what it said last, and the line that names its error."""

from __future__ import annotations

import re
from pathlib import Path

_ERROR = re.compile(r"(?:^|\s)((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)): (.+)")
_TRACEBACK = "Traceback (most recent call last)"
_HEADLINE = re.compile(r":\s*$|validation errors? for \w+$")
"""An error that says what it is about on the lines below: pydantic's, and lists."""
_BELOW = 4
_LONGEST = 400
"""Characters of a line: some errors list everything that would have been right."""
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
    for number in (*range(first, len(lines)), *range(first)):
        if match := _ERROR.search(lines[number]):
            said = f"{match[1]}: {match[2].strip()}"
            below = lines[number + 1 : number + 1 + _BELOW] if _HEADLINE.search(said) else []
            return "\n".join(_cut(line) for line in [said, *below])
    return "\n".join(_cut(line) for line in lines[-5:])


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
