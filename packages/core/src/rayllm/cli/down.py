"""`rayllm down`: take it away."""

from __future__ import annotations

from rayllm.cli.options import DEFAULT_FILE, FileOption, YesOption


def down(file: FileOption = DEFAULT_FILE, yes: YesOption = False) -> None:
    """Stop the models and the endpoint; remove the cluster if RayLLM made it.

    What is cached on the nodes (environments, weights) stays.

    Examples:
      rayllm down
      rayllm down -f prod.yaml --yes
    """
    from rayllm.cli.opening import confirmed, open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output, with_keys=False)
    if not confirmed(f"Stop {llm.name} and everything it serves?", output, yes=yes):
        return
    try:
        with Steps() as steps, stdout_to_stderr():
            found = llm.down(steps)
    except KeyboardInterrupt:
        output.note(f"Interrupted. A part of {llm.name} may be left: rayllm down takes it away")
        raise
    output.say(f"{llm.name} is down." if found else f"{llm.name} was not running.")
