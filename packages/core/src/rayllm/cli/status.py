"""`rayllm status`: what runs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayllm.cli.completion import complete_model
from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from rayllm.api import RayLLM
    from rayllm.cli.output import Line

_VOLATILE = ("detail", "message", "cause", "computing", "queued")
"""What changes all the time while something starts, and is no news: a failure and a cure are told apart from them."""


def status(
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
    model: Annotated[
        str | None,
        typer.Argument(
            help="Only this model, with everything about it; `gateway` for the endpoint.", autocompletion=complete_model
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again whenever it changes, until Ctrl-C.")
    ] = False,
) -> None:
    """Show the models, their replicas and what is wrong; the exit status is 1 if something is not ready.

    With MODEL: what it is, where its replicas run and since when, and if it is not ready, why and what to do.

    --watch redraws on a terminal; elsewhere it prints a block (with --json: a line) for each change. Ctrl-C is how it
    ends, so the exit status is 0 then. It goes on while the deployment is down, and shows when it is up again.

    Examples:
      rayllm status
      rayllm status smollm2
      rayllm status --watch
      rayllm status --json
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    llm = open_file(file, output, with_keys=False)
    if watch:
        from rayllm.cli.watching import watch as show

        show(lambda: _sight(llm, model, json=json), output)
        return
    ready, value, lines = _look(llm, model)
    if json:
        output.print_json(value)
    else:
        for line, style in lines:
            output.say(line, style)
    if not ready:
        raise typer.Exit(1)


def _look(llm: RayLLM, model: str | None) -> tuple[bool, dict[str, Any], list[Line]]:
    """Whether all is ready; the status for a program, and for a person."""
    from rayllm.cli.status_text import deployment_lines, model_lines
    from rayllm.deployment.observing import model_of
    from rayllm.streams import stdout_to_stderr

    with stdout_to_stderr():
        found = llm.status()
    if model:
        part = model_of(llm.session, found, model)
        return part.state == "ready", part.to_json(), list(model_lines(part, found.nodes))
    parts = [*found.models.values(), found.gateway]
    ready = bool(found.models) and all(part is not None and part.state == "ready" for part in parts)
    return ready, found.to_json(), list(deployment_lines(found, llm.config.cluster.backend))


def _sight(llm: RayLLM, model: str | None, *, json: bool) -> tuple[Any, list[Line]]:
    """What makes two sights the same, and the lines to show."""
    _, value, lines = _look(llm, model)
    if json:
        from json import dumps

        lines = [(dumps(value, ensure_ascii=False, default=str), None)]
    return _lasting(value), lines


def _lasting(value: Any) -> Any:
    """A status without what is no news."""
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_lasting(item) for item in value]
    return value
