"""What a command prints: results on stdout, notes on stderr, colour only for a person's terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rayllm.cli.hints import with_file

Line = tuple[str, "str | None"]
"""A line of text and its style."""
CODES = {"good": "32", "bad": "31", "warning": "33", "dim": "2", "bold": "1"}
"""Styles, by what they mean."""


class Output:
    """A pair of streams. Plain text where they are no terminal, or `$NO_COLOR` is set."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr

    def say(self, text: str, style: str | None = None) -> None:
        """Print a result."""
        self._write(self.stdout, with_file(text), style)

    def note(self, text: str, style: str | None = None) -> None:
        """Print what is about the result, and no part of it."""
        self._write(self.stderr, with_file(text), style)

    def write(self, text: str, style: str | None = None) -> None:
        """Print a piece of a result, without a line's end."""
        self._write(self.stdout, text, style, end="")

    def print_json(self, value: Any) -> None:
        """Print a result for a program: the only thing on stdout then."""
        self._write(self.stdout, json.dumps(value, indent=2, ensure_ascii=False, default=str), None)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print columns, each as wide as its widest cell; no frames, so that it can be searched and cut."""
        for text, style in table_lines(headers, rows):
            self.say(text, style)

    def _write(self, stream: TextIO, text: str, style: str | None, end: str = "\n") -> None:
        if style and self._in_colour(stream):
            text = f"\x1b[{CODES[style]}m{text}\x1b[0m"
        stream.write(text + end)
        stream.flush()

    @staticmethod
    def _in_colour(stream: TextIO) -> bool:
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    """The lines of a table, each column as wide as its widest cell."""
    lines = [headers, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        yield "  ".join(cells).rstrip(), "dim" if number == 0 else None
