"""`rayllm plan`: what would `up` change?"""

from __future__ import annotations

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption


def plan(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Compare the file with what runs; change nothing.

    Examples:
      rayllm plan
      rayllm plan -f prod.yaml --json
    """
    from rayllm.cli.memory_text import memory_lines
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.plan_text import added_lines, plan_lines
    from rayllm.cli.unused import tell_unused
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    tell_unused(llm.session.checked, output)
    with stdout_to_stderr():
        found = llm.plan()
    if found.unsure:
        output.note(f"{found.unsure}; what it serves can't be told now", "warning")
    if json:
        output.print_json(found.to_json())
        return
    if not found.has_changes:
        output.say(f"No changes. {llm.name} is what {file} says.")
        for line, style in added_lines(found.changes):
            output.say(line, style)
    else:
        output.say(f"{llm.name} on {llm.config.cluster.backend}")
        for line, style in plan_lines(found.changes):
            output.say(line, style)
    for text, look in memory_lines(found.memory) if found.has_changes else ():
        output.say(text, look)
    for line in found.misfits:
        output.say(f"  ✘ {line}", "bad")
    if found.has_changes:
        output.say("Apply with: rayllm up")
