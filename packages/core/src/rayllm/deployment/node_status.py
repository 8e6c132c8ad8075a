"""Each machine as Ray and the platform report it, side by side, and what the two disagree on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from rayllm.backends import Node, PlatformNode
from rayllm.deployment.status import NodeStatus

_RUNS = "running"
_PASSING = frozenset({"starting", "stopping"})
_NOT_MADE = frozenset({"refused", "waiting"})
_LEAVES = "wait a minute: a node that was removed leaves Ray then; else see where it runs, by its address"
_AGAIN = "the cluster tries it again by itself; make room for it, or have fewer: rayllm nodes scale"
_GIVEN_UP = "wait a minute, until Ray gives it up; start it again: rayllm up"


def node_statuses(platform: Sequence[PlatformNode], ray: Iterable[Node]) -> list[NodeStatus]:
    """Join the two by the nodes' names; the platform's order, then what Ray alone has.

    A node that the platform starts again is another one to Ray: of an earlier life nothing is told, nor of dead nodes
    that the platform no longer has.
    """
    if not platform:
        return [_of(node) for node in ray]
    newest: dict[str, Node] = {}
    for node in (told := list(ray)):
        if node.name not in newest or newest[node.name].state != "alive":
            newest[node.name] = node
    head = _RUNS if told else next((machine.state for machine in platform if machine.head), "not there")
    both = [_joined(machine, newest.pop(machine.name, None), head) for machine in platform]
    strangers = [node for node in newest.values() if node.state == "alive"]
    return both + [
        _of(node, cause=f"Ray has it, the platform does not{_why(node)}", cure=_LEAVES) for node in strangers
    ]


def _of(node: Node, machine: PlatformNode | None = None, cause: str = "", cure: str = "") -> NodeStatus:
    told: dict[str, Any] = {one.name: getattr(node, one.name) for one in fields(Node)}
    if machine:
        told |= {"group": machine.group, "platform": machine.state}
    return NodeStatus(**told, cause=cause, cure=cure)


def _joined(machine: PlatformNode, node: Node | None, head: str) -> NodeStatus:
    there = node or Node(id="", state="missing", name=machine.name, head=machine.head)
    cause, cure = _told(machine, there, head)
    return _of(there, machine, cause, cure)


def _told(machine: PlatformNode, node: Node, head: str) -> tuple[str, str]:
    """Cause and cure; both empty where nothing is wrong. `head` is the platform's word for the head."""
    more = f": {machine.reason}" if machine.reason else ""
    alive, look = node.state == "alive", f"rayllm nodes logs {machine.name}"
    if machine.state == _RUNS and node.state == "missing":
        joins = f"it runs, and has not joined Ray yet{more}", f"wait; what it writes: {look}"
        return joins if head == _RUNS else _headless(head)
    if machine.state == _RUNS and not alive:
        return f"it runs, and Ray has lost it{_why(node) or more}", f"it joins again by itself; what it writes: {look}"
    if machine.state in _PASSING and machine.reason and not alive:
        return f"it is {machine.state}{more}", f"wait; what it writes: {look}"
    if machine.state in {_RUNS, *_PASSING}:
        return "", ""
    if alive:
        return f"it is {machine.state}{more}, and Ray still has it", _GIVEN_UP
    cure = _AGAIN if machine.state in _NOT_MADE else f"what it wrote: {look}; start it again: rayllm up"
    return f"it is {machine.state}{more}", cure


def _headless(head: str) -> tuple[str, str]:
    return f"it runs, and has no head to join: that is {head}", "wait" if head in _PASSING else "rayllm up"


def _why(node: Node) -> str:
    return f": {node.reason}" if node.reason else ""
