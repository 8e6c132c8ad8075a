"""`rayllm doctor`: what stands in the way?"""

from __future__ import annotations

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

_MARKS = {"ok": ("✔", "good"), "warn": ("!", "warning"), "fail": ("✘", "bad")}


def doctor(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Look for what stands in the way: on this machine, in the plugins, the file and its cluster; change nothing.

    It works without a file, too. The exit status is 1 if something stands in the way, and 0 if there are only warnings.

    Examples:
      rayllm doctor
      rayllm doctor -f prod.yaml --json
    """
    import os
    from dataclasses import asdict

    from rayllm.cli.discovery import discover
    from rayllm.cli.output import Output
    from rayllm.machine.doctor import examine
    from rayllm.streams import stdout_to_stderr

    output = Output()
    plugins = discover(output, warn=False)
    with stdout_to_stderr():
        checks = examine(file, plugins, os.environ, named=file != DEFAULT_FILE)
    if json:
        output.print_json([asdict(check) for check in checks])
    for check in checks if not json else ():
        mark, style = _MARKS[check.state]
        detail = check.detail.replace("\n", "\n    ")
        output.say(f"{mark} {check.name}: {detail}", style)
        if check.cure:
            output.say("    do  " + check.cure.replace("\n", "\n        "))
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)
