"""`rayllm pull`: prepare the nodes, deploy nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.completion import complete_model
from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rayllm.cli.output import Output
    from rayllm.deployment.preparing import Prepared


def pull(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models of the file; all if left out.", autocompletion=complete_model)
    ] = None,
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Prepare the nodes: build engines' environments and fetch weights, deploy nothing.

    Every node that could hold a model gets what the model needs there, side by side and without holding a GPU; the
    cluster is started if need be. A replica then starts without the wait. What is there already stays as it is, so run
    it again after a failure or Ctrl-C: it goes on from what is there.

    Examples:
      rayllm pull
      rayllm pull llama-70b -f prod.yaml
    """
    from dataclasses import asdict

    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.deployment.preparing import NotPreparedError
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    try:
        with Steps() as steps, stdout_to_stderr():
            found = llm.pull(models or None, steps)
    except NotPreparedError as error:
        if json:
            output.print_json([asdict(one) for one in error.found])
        raise
    if json:
        output.print_json([asdict(one) for one in found])
    else:
        say_prepared(found, output)


def say_prepared(found: Sequence[Prepared], output: Output) -> None:
    """A line for each model on each node."""
    rows = [
        (one.model, f"{one.node[:12]} {one.address}", one.environment, one.size or "-", f"{one.free} free")
        for one in found
    ]
    output.table(("MODEL", "NODE", "ENVIRONMENT", "WEIGHTS", "DISK"), rows)
