"""`rayllm scale`: more or fewer replicas of one model."""

from __future__ import annotations

from typing import Annotated

import typer

from rayllm.cli.completion import complete_model
from rayllm.cli.options import DEFAULT_FILE, FileOption


def scale(
    model: Annotated[str, typer.Argument(help="The model's name in the file.", autocompletion=complete_model)],
    replicas: Annotated[int, typer.Argument(help="How many replicas, from 1.")],
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Set how many replicas of a model run, and wait until they do; those that run are not restarted.

    The cluster is changed, the file is not: `rayllm plan` shows the difference, and `rayllm up` sets it back to what
    the file says. A model whose replicas follow the load (`replicas: {min, max}`) has this fixed number until then.

    A replica that is too much takes no new request, finishes what it has (`drain_s` seconds at most), and stops.

    Examples:
      rayllm scale smollm2 2
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    try:
        with Steps() as steps, stdout_to_stderr():
            found = llm.scale(model, replicas, steps)
    except KeyboardInterrupt:
        output.note(f"Interrupted. What the cluster was told goes on: rayllm status {model}")
        raise
    running = found.models[model].running
    output.say(f"{model} has {running} replica{'' if running == 1 else 's'}")
    if llm.config.models[model].replicas != replicas:
        output.note(f"{file} says otherwise: rayllm up sets it back to that", "dim")
