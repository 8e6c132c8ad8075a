"""What every command that talks to a cluster begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rayllm.cli.discovery import discover

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.deployment.session import Session


def open_session(file: Path, output: Output) -> Session:
    """Check the file and open its backend."""
    from rayllm import config
    from rayllm.deployment.session import Session

    plugins = discover(output)
    return Session(config.load(file, plugins), plugins)


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
        raise InputError(f"{question} Nobody is here to answer", cure="say it beforehand: --yes")
    try:
        if typer.confirm(question, default=False, err=True):
            return True
    except typer.Abort:
        output.note("")
        raise KeyboardInterrupt from None
    output.note("Nothing was changed.")
    return False
