"""`rayllm init`: a first file."""

from __future__ import annotations

from typing import Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption


def init(
    file: FileOption = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Ask four questions: where, engine, model, port.")
    ] = False,
) -> None:
    """Write a first file, for what is installed here.

    Examples:
      rayllm init
      rayllm init --interactive
      rayllm init -f demo.yaml --force
    """
    from shlex import quote

    from rayllm.cli.discovery import discover
    from rayllm.cli.first_file import Choices
    from rayllm.cli.output import Output
    from rayllm.config import load
    from rayllm.errors import InputError

    output = Output()
    named = "" if file == DEFAULT_FILE else f" -f {quote(str(file))}"
    there = InputError(f"{file} is there already", cure=f"rayllm init{named} --force overwrites it")
    if file.exists() and not force:
        raise there  # before questions are asked for nothing
    plugins = discover(output)
    choices = Choices.of_what_is_installed(plugins)
    if interactive:
        from rayllm.cli.questions import ask

        choices = ask(choices, plugins, output)
    try:
        with file.open("w" if force else "x", encoding="utf-8") as target:
            target.write(choices.text())
    except FileExistsError as error:
        raise there from error
    except OSError as error:
        raise InputError(f"{file} can't be written", cause=error.strerror or str(error)) from error
    load(file, plugins)  # what a backend needs beyond the questions is said now
    output.say(f"Wrote {file} ({choices.model} with {choices.engine} on {choices.backend}). Next: rayllm up{named}")
