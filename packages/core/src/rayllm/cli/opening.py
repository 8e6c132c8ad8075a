"""What every command that talks to a cluster begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rayllm.cli.discovery import discover

if TYPE_CHECKING:
    from rayllm.api import RayLLM
    from rayllm.cli.output import Output


def open_file(file: Path, output: Output) -> RayLLM:
    """Check the file and open its backend; tell of broken plugins."""
    from rayllm.api import RayLLM
    from rayllm.streams import stdout_to_stderr

    with stdout_to_stderr():  # what plugins print is no result
        return RayLLM.from_file(file, plugins=discover(output), report=output.note)


def confirmed(question: str, output: Output, *, yes: bool) -> bool:
    """Ask a person; `yes` answers for them.

    Raises:
        InputError: nobody is there to ask.
        KeyboardInterrupt: Ctrl-C or Ctrl-D instead of an answer.
    """
    import sys

    import typer

    from rayllm.errors import InputError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(f"nobody is here to answer: {question}", cure="say it beforehand: --yes")
    try:
        if typer.confirm(question, default=False, err=True):
            return True
    except typer.Abort:
        output.note("")
        raise KeyboardInterrupt from None
    output.note("Nothing was changed.")
    return False
