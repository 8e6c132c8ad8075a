"""The nodes of a cluster, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rayllm.cli.output import Line, table_lines
from rayllm.deployment.fit import amounts
from rayllm.deployment.placement import ACCELERATOR
from rayllm.deployment.status import NodeStatus

_SHOWN = ("GPU", "CPU", "memory")


def node_lines(nodes: Sequence[NodeStatus]) -> Iterator[Line]:
    """A line for each, then what is wrong."""
    if not nodes:
        return
    headers, rows = ("NODE", "GROUP", "PLATFORM", "RAY", "ADDRESS", "RESOURCES"), [_row(node) for node in nodes]
    told = [column for column, cells in enumerate(zip(*rows, strict=True)) if set(cells) != {"-"}]
    yield from table_lines([headers[column] for column in told], [[row[column] for column in told] for row in rows])
    for node in nodes:
        if node.cause:
            yield f"  {_name(node)}: {node.cause}   → {node.cure}", "warning"
        elif node.state == "dead":
            yield f"  {_name(node)}: {node.reason or 'Ray says no more'}", "warning"


def _row(node: NodeStatus) -> tuple[str, ...]:
    group = "head" if node.head else node.group
    cells = (_name(node), group, node.platform, node.state, node.address, _resources(node))
    return tuple(cell or "-" for cell in cells)


def _name(node: NodeStatus) -> str:
    return node.name or node.id[:12]


def _resources(node: NodeStatus) -> str:
    """What Ray counts on it; a dead one has none."""
    kept = {name: node.resources[name] for name in _SHOWN if node.resources.get(name)}
    kept |= {name: 1.0 for name in node.resources if name.startswith(ACCELERATOR)}
    return amounts(kept) if node.state == "alive" else ""
