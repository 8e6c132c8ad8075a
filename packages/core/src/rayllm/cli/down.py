"""`rayllm down`: take it away."""

from __future__ import annotations

from rayllm.cli.options import DEFAULT_FILE, FileOption, YesOption


def down(file: FileOption = DEFAULT_FILE, yes: YesOption = False) -> None:
    """Stop the models and the endpoint, and remove the cluster if RayLLM made it.

    What is cached on the nodes (environments, weights) stays.

    Examples:
      rayllm down
      rayllm down -f prod.yaml --yes
    """
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.cli.session import confirmed, open_session
    from rayllm.deployment.down import down as take_down

    output = Output()
    session = open_session(file, output)
    if not confirmed(f"Stop {session.name} and everything it serves?", output, yes=yes):
        return
    with Steps() as steps:
        found = take_down(session, steps)
    output.say(f"{session.name} is down." if found else f"{session.name} was not running.")
