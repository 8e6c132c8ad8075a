"""`python -m rayllm_backend_cai.migrate OLD.yaml`: a RayLLM file from one of ray-serve-cai's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

OldFile = Annotated[Path, typer.Argument(metavar="OLD.yaml", help="A file of ray-serve-cai's.")]
NewFile = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there; else to stdout.")]


def migrate(old: OldFile, output: NewFile = None) -> None:
    """Print a file of ray-serve-cai's as one of RayLLM's.

    What has no counterpart, or means something else now, is told on stderr, by its line in the old file.
    """
    from rayllm.cli.output import Output
    from rayllm.errors import InputError
    from rayllm_backend_cai.migrate import convert

    out = Output()
    try:
        converted = convert(old)
        if output is None:
            out.write(converted.text)
        else:
            _write(output, converted.text)
    except InputError as error:
        out.note(str(error), "bad")
        raise typer.Exit(error.exit_code) from None
    for note in converted.notes:
        out.note(f"{old}:{note.line}  {note.key}: {note.text}")


def _write(path: Path, text: str) -> None:
    """Write a file that was not there.

    Raises:
        InputError: it is there, or can't be written.
    """
    from rayllm.errors import InputError

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} is there already", cure="name another file after -o") from None
    except OSError as error:
        raise InputError(f"{path} can't be written", cause=error.strerror or str(error)) from None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(migrate)
    app(prog_name="python -m rayllm_backend_cai.migrate")
