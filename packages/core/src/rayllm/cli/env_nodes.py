"""`rayllm env … -f FILE`: the environments on the nodes of a file's cluster."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rayllm.cli.output import Output
    from rayllm.deployment.node_environments import NodeCheck, NodeEnvironment

NodesOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="A deployment's file: on the nodes of its cluster, not here."),
]


def build_on_nodes(file: Path) -> None:
    """Build what the file's models need on every node that could hold them."""
    from rayllm.cli.opening import open_file
    from rayllm.cli.output import Output
    from rayllm.cli.progress import Steps
    from rayllm.cli.pull import say_prepared
    from rayllm.streams import stdout_to_stderr

    output = Output()
    llm = open_file(file, output)
    with Steps() as steps, stdout_to_stderr():
        found = llm.pull(None, steps, weights=False)
    say_prepared(found, output)


def on_nodes(file: Path, output: Output, *, closely: bool = False) -> tuple[list[NodeEnvironment], list[NodeCheck]]:
    """What is on the nodes of the file's cluster."""
    from rayllm.cli.opening import open_file
    from rayllm.cli.progress import Steps
    from rayllm.deployment.node_environments import node_environments
    from rayllm.streams import stdout_to_stderr

    llm = open_file(file, output)
    with Steps() as steps, stdout_to_stderr():
        return node_environments(llm.session, steps, closely=closely)


def node_names(found: Iterable[NodeEnvironment | NodeCheck]) -> list[str]:
    """A node as people tell it from others, for each."""
    return [f"{one.node[:12]} {one.address}".rstrip() for one in found]
