"""`rayllm logs`: what did the engine say?"""

from __future__ import annotations

from typing import Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption


def logs(
    model: Annotated[str, typer.Argument(help="The model's name in the file.")],
    file: FileOption = DEFAULT_FILE,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on as lines are added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines; -1 for all.")] = 200,
) -> None:
    """Print the log of a model's engine: the newest replica's, or that of the last one that failed.

    Examples:
      rayllm logs smollm2
      rayllm logs smollm2 --follow
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    for part in open_file(file, output).logs(model, lines=lines, follow=follow):
        output.stdout.write(part)
        output.stdout.flush()
