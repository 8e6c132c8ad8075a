"""`rayllm validate`: is the file right?"""

from __future__ import annotations

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption


def validate(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Check a file against the installed plugins; start nothing.

    All mistakes are shown at once, and the exit status is 2 if there are any.

    Examples:
      rayllm validate
      rayllm validate -f prod.yaml --json
    """
    from dataclasses import asdict

    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.cli.unused import tell_unused
    from rayllm.config import ConfigErrors, Verdict, load
    from rayllm.streams import stdout_to_stderr

    output = Output()
    plugins = discover(output)
    try:
        with stdout_to_stderr():
            checked = load(file, plugins, report=output.note)
    except ConfigErrors as error:
        if json:
            output.print_json(asdict(Verdict(str(file), valid=False, problems=error.problems)))
        raise
    tell_unused(checked, output)
    if json:
        output.print_json(asdict(Verdict(str(file), valid=True)))
        return
    count = len(checked.config.models)
    models = f"{count} model{'s' * (count != 1)}"
    output.say(f"{file} is valid: {checked.config.name} on {checked.backend.name}, {models}", "good")
