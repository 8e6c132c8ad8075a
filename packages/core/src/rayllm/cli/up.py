"""`rayllm up`: make it so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption, YesOption

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.deployment.session import Session
    from rayllm.deployment.status import Status


def up(file: FileOption = DEFAULT_FILE, yes: YesOption = False, json: JsonOption = False) -> None:
    """Bring up the cluster, the models and the endpoint; what is as the file says stays untouched.

    Run it again after a change, a failure or Ctrl-C: it goes on from what is there. It asks before it restarts or
    removes something that runs.

    Examples:
      rayllm up
      rayllm up -f prod.yaml --yes
    """
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.cli.session import open_session
    from rayllm.deployment.apply import up as bring_up

    output = Output()
    session = open_session(file, output)
    if not _agreed(session, output, yes=yes):
        return
    try:
        with Steps() as steps:
            status = bring_up(session, steps)
    except KeyboardInterrupt:
        output.note(f"Interrupted. What was begun of {session.name} goes on: rayllm status, up or down")
        raise
    if json:
        output.print_json(status.to_json())
    else:
        _say_what_next(status, output)


def _agreed(session: Session, output: Output, *, yes: bool) -> bool:
    """Show the plan; ask where something that runs would stop."""
    from rayllm.cli.plan_text import plan_lines
    from rayllm.cli.session import confirmed
    from rayllm.deployment.proposal import propose

    proposal = propose(session, session.find())
    output.note(f"{session.name} on {session.checked.backend.name}", "bold")
    for line, style in plan_lines(proposal.changes):
        output.note(line, style)
    stopping = [change.name for change in proposal.changes if change.effect.startswith(("restarts", "stops"))]
    return not stopping or confirmed(f"This stops or restarts {', '.join(stopping)}. Go on?", output, yes=yes)


def _say_what_next(status: Status, output: Output) -> None:
    model = next(iter(status.models), "MODEL")
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}'
    output.say(f"\n  curl {status.gateway_url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
    output.say(f"  rayllm status      rayllm logs {model}      rayllm down")
