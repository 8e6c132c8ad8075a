"""`rayllm plan`: what would `up` change?"""

from __future__ import annotations

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption


def plan(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Compare the file with what runs; change nothing.

    Examples:
      rayllm plan
      rayllm plan -f prod.yaml --json
    """
    from rayllm.cli.output import Output
    from rayllm.cli.plan_text import plan_lines
    from rayllm.cli.session import open_session
    from rayllm.deployment.plan import has_changes
    from rayllm.deployment.proposal import propose

    output = Output()
    session = open_session(file, output)
    cluster = session.find()
    if cluster and cluster.state != "ready":
        output.note(f"the cluster is {cluster.state}: {cluster.reason}; what it serves can't be told now", "warning")
    proposal = propose(session, cluster)
    if json:
        changes = [change.to_json() for change in proposal.changes]
        output.print_json({"name": session.name, "changes": changes, "misfits": proposal.misfits})
        return
    if not has_changes(proposal.changes):
        output.say(f"No changes. {session.name} is what {file} says.")
    else:
        output.say(f"{session.name} on {session.checked.backend.name}")
        for line, style in plan_lines(proposal.changes):
            output.say(line, style)
    for line in proposal.misfits:
        output.say(f"  ✘ {line}", "bad")
    if has_changes(proposal.changes):
        output.say("Apply with: rayllm up")
