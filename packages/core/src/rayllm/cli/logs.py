"""`rayllm logs`: what did the engine say?"""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperCommand

from rayllm.cli.completion import complete_model
from rayllm.cli.options import DEFAULT_FILE, FileOption


class LogsCommand(TyperCommand):
    """Tells those who come from `tail -f` or `kubectl logs -f` what following is called here."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer's context
        """As in every command, with a word on a `-f` that is not followed by a file, or by the only argument."""
        after = args[args.index("-f") + 1 :] if "-f" in args else ["FILE"]
        half = ctx.resilient_parsing  # a shell asks what may come next
        if not half and (not after or after[0].startswith("-") or args[:-1] == ["-f"]):
            raise typer.BadParameter("-f is --file, as in every command; to follow the log: -F or --follow")
        return super().parse_args(ctx, args)


def logs(
    model: Annotated[
        str, typer.Argument(help="The model's name in the file, or `gateway`.", autocompletion=complete_model)
    ],
    file: FileOption = DEFAULT_FILE,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on as lines are added, like `tail -F`.")] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines", "-n", help="How many of the last lines; -1 for all. [default: 200, all with --last-start]"
        ),
    ] = None,
    replica: Annotated[
        str | None, typer.Argument(help="Which replica: its id in `rayllm status MODEL`, or how that begins.")
    ] = None,
    last_start: Annotated[
        bool, typer.Option("--last-start", help="What the engine that started last wrote, be it one that failed.")
    ] = False,
) -> None:
    """Print the log of a model's engine: the newest replica's, or that of the last one that failed.

    `rayllm logs gateway` prints the requests that went wrong at the endpoint. Ctrl-C ends --follow.

    Examples:
      rayllm logs smollm2
      rayllm logs smollm2 --follow
      rayllm logs smollm2 --last-start       why did it not start, or die
      rayllm logs smollm2 7hx2 -n 50 -F      of one replica
      rayllm logs gateway
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    llm = open_file(file, output, with_keys=False)
    for part in llm.logs(model, replica, lines=lines, follow=follow, last_start=last_start):
        output.stdout.write(part)
        output.stdout.flush()
