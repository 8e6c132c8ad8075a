"""What every command that talks to a cluster begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rayllm.cli.discovery import discover

if TYPE_CHECKING:
    from rayllm.api import RayLLM
    from rayllm.cli.output import Output


def open_file(file: Path, output: Output, *, with_keys: bool = True) -> RayLLM:
    """Check the file and open its backend; tell of broken plugins.

    What neither sets nor shows the file's API keys does without them: another machine may have them.
    """
    from rayllm.api import RayLLM
    from rayllm.config import load
    from rayllm.deployment.session import Session
    from rayllm.streams import stdout_to_stderr

    with stdout_to_stderr():  # what plugins print is no result
        plugins = discover(output)
        return RayLLM(Session(load(file, plugins, report=output.note, with_keys=with_keys), plugins))


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
