"""`rayllm nodes`: the machines of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rayllm.cli.options import DEFAULT_FILE, FileOption, JsonOption

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.deployment.status import NodeStatus


def nodes_list(file: FileOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """List the cluster's nodes: what Ray says of each, and what the platform does that started it.

    Below the table stands what is wrong, or what the two disagree on: a machine that runs and that Ray does not have,
    one that has stopped and why.

    Examples:
      rayllm nodes list
      rayllm nodes list --json
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output, with_keys=False)
    with stdout_to_stderr():
        found = llm.nodes.list()
    _show(found, output, json=json)


def nodes_scale(
    group: Annotated[str, typer.Argument(help="The group of nodes, as the file's `cluster.options` calls it.")],
    count: Annotated[int, typer.Argument(help="How many nodes, from 0.")],
    file: FileOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Set how many nodes a group has, and wait until it has them.

    A node that is too much takes no new replica, its replicas finish their requests, then it goes. The cluster is
    changed, the file is not: `rayllm up` sets the number back to what the file says.

    Examples:
      rayllm nodes scale gpu 2
      rayllm nodes scale gpu 0
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output, with_keys=False)
    try:
        with Steps() as steps, stdout_to_stderr():
            found = llm.nodes.scale(group, count, progress=steps)
    except KeyboardInterrupt:
        output.note("Interrupted. What the cluster was told goes on: rayllm nodes list")
        raise
    if not json:
        output.say(f"{group} has {len(found)} node{'' if len(found) == 1 else 's'}")
        output.note(f"rayllm up sets it back to what {file} says", "dim")
    _show(found, output, json=json)


def nodes_logs(
    node: Annotated[str, typer.Argument(help="The node's name in `rayllm nodes list`.")],
    file: FileOption = DEFAULT_FILE,
    *,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines; -1 for all.")] = 200,
) -> None:
    """Print what a node's own programs wrote: why it does not start, does not join, or has ended.

    What an engine wrote is another matter: `rayllm logs MODEL`.

    Examples:
      rayllm nodes logs prod-gpu-1
      rayllm nodes logs prod-gpu-1 -n 50
    """
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output

    output = Output()
    llm = open_file(file, output, with_keys=False)
    for part in llm.nodes.logs(node, lines=lines):
        output.write(part)


def _show(found: list[NodeStatus], output: Output, *, json: bool) -> None:
    from dataclasses import asdict

    from rayllm.cli.node_text import node_lines

    if json:
        output.print_json([asdict(node) for node in found])
        return
    for line, style in node_lines(found):
        output.say(line, style)
