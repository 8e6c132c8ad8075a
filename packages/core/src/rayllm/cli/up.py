"""`rayllm up`: make it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption, YesOption

if TYPE_CHECKING:
    from rayllm.api import RayLLM
    from rayllm.cli.output import Output
    from rayllm.deployment.status import Status


def up(
    file: FileOption = DEFAULT_FILE,
    yes: YesOption = False,
    pull: Annotated[
        bool, typer.Option("--pull", help="Prepare the nodes first, also for models that hold no GPUs.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Bring up the cluster, the models and the endpoint; what is as the file says stays untouched.

    Run it again after a change, a failure or Ctrl-C: it goes on from what is there. It asks before it restarts or
    removes something that runs. The nodes of models that hold GPUs are prepared first, as `rayllm pull` does.

    Examples:
      rayllm up
      rayllm up -f prod.yaml --yes
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    if not _agreed(llm, output, yes=yes):
        return
    try:
        with Steps() as steps, stdout_to_stderr():
            status = llm.up(steps, pull=pull)
    except KeyboardInterrupt:
        output.note(f"Interrupted. What was begun of {llm.name} goes on: rayllm status, up or down")
        raise
    if json:
        output.print_json(status.to_json())
    else:
        _say_what_next(status, output, keyed=llm.config.gateway.keys is not None)


def _agreed(llm: RayLLM, output: Output, *, yes: bool) -> bool:
    """Show the plan; ask where something that runs would stop."""
    from rayllm.cli.memory_text import memory_lines
    from rayllm.cli.opening import confirmed
    from rayllm.cli.plan_text import plan_lines
    from rayllm.streams import stdout_to_stderr

    with stdout_to_stderr():
        plan = llm.plan()
    output.note(f"{llm.name} on {llm.config.cluster.backend}", "bold")
    for line, style in plan_lines(plan.changes):
        output.note(line, style)
    for text, look in memory_lines(plan.memory) if plan.has_changes else ():
        output.note(text, look)
    return not plan.stops or confirmed(f"This stops or restarts {', '.join(plan.stops)}. Go on?", output, yes=yes)


def _say_what_next(status: Status, output: Output, *, keyed: bool) -> None:
    model = next(iter(status.models), "MODEL")
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}'
    shown = [f' -H "{name}: {value}"' for name, value in status.shown_headers.items()]
    headers = "-H 'content-type: application/json'" + "".join(shown)
    headers += ' -H "x-api-key: $RAYLLM_API_KEY"' if keyed else ""
    output.say(f"\n  curl {status.gateway_url}/v1/chat/completions {headers} -d '{body}'")
    output.say(f"  rayllm chat {model}      rayllm status      rayllm logs {model}      rayllm down")
