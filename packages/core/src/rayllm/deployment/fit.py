"""Can the models run on the nodes there are: asked before anything changes, and when one waits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rayllm.backends import Node
from rayllm.config.schema import ModelConfig, ReplicaRange
from rayllm.deployment.placement import ACCELERATOR, needs

_UNITS = {"GPU": "GPU", "CPU": "CPU core", "memory": "GiB of memory"}
_ROUNDING = 1e-6
"""Ray counts in ten-thousandths; sums of floats miss by less."""


def misfits(models: Mapping[str, ModelConfig], nodes: Iterable[Node]) -> list[str]:
    """One line for each model that no node can hold, and for a resource that all models together exceed."""
    alive = [node for node in nodes if node.state == "alive"]
    if not alive:
        return []
    problems = [line for name, model in models.items() if (line := _too_big(name, model, alive))]
    return problems or too_many(models, alive)


def too_many(models: Mapping[str, ModelConfig], nodes: Iterable[Node]) -> list[str]:
    """One line for each resource of which all models together need more than the nodes have."""
    has = [node.resources for node in nodes]
    problems = []
    for resource in _UNITS:
        needed = sum(
            needs(model.resources).get(resource, 0) * model.resources.nodes * _least(model) for model in models.values()
        )
        there = sum(one.get(resource, 0) for one in has)
        if needed > there:
            problems.append(
                f"all models together need {_amount(resource, needed)}; the cluster has {_amount(resource, there)}"
            )
    return problems


def room(
    needs: Mapping[str, float], nodes: Iterable[Node], taken: Mapping[str, Mapping[str, float]], spans: int = 1
) -> int:
    """How many replicas the nodes have room for.

    Args:
        needs: what one replica needs on each of its nodes, by Ray's resource names.
        nodes: dead ones count for nothing.
        taken: what is in use already, by node id.
        spans: nodes of each replica, no two of one replica the same.
    """
    parts = [
        max(0, min(int((free + _ROUNDING) / amount) for free, amount in _free(node, needs, taken)))
        for node in nodes
        if node.state == "alive"
    ]
    most = sum(parts) // spans
    # A node holds one part of each replica at most, so that of those that it could hold some may be of no use.
    while most and sum(min(part, most) for part in parts) < most * spans:
        most -= 1
    return most


def could_hold(node: Node, model: ModelConfig) -> bool:
    """Whether a node with nothing else on it has room for one replica, or for its part of one."""
    return bool(room(needs(model.resources), [node], {}))


def shortage(
    needs: Mapping[str, float], nodes: Iterable[Node], taken: Mapping[str, Mapping[str, float]], spans: int = 1
) -> str:
    """Why a replica that waits has no node, with the numbers; empty where the nodes should have room for it."""
    alive = [node for node in nodes if node.state == "alive"]
    if not alive or room(needs, alive, taken, spans):
        return ""
    if not room(needs, alive, {}, spans):
        return _larger_than_all(needs, alive, spans)
    free = {node.id: dict(zip(needs, (left for left, _ in _free(node, needs, taken)), strict=True)) for node in alive}
    if spans > 1:
        fitting = [node for node in alive if room(needs, [node], taken)]
        return f"one replica needs {each_of(needs, spans)}; {_so_many(fitting, alive)} so much free"
    most = max(free.values(), key=lambda left: min(left[r] / amount for r, amount in needs.items()))
    return f"one replica needs {amounts(needs)}; no node has that free, the best has {amounts(most)}"


def amounts(needs: Mapping[str, float]) -> str:
    """`2 GPUs of type L40S, 1 CPU core, 8 GiB of memory`."""
    types = [name.removeprefix(ACCELERATOR) for name in needs if name.startswith(ACCELERATOR)]
    plain = {name: amount for name, amount in needs.items() if not name.startswith(ACCELERATOR)}
    told = [
        _amount(resource, max(0.0, amount)) + (f" of type {types[0]}" if types and resource == "GPU" else "")
        for resource, amount in plain.items()
    ]
    return ", ".join(told)


def each_of(needs: Mapping[str, float], spans: int) -> str:
    """`1 CPU core`, or `2 nodes with 8 GPUs, 1 CPU core each`."""
    return amounts(needs) if spans == 1 else f"{spans} nodes with {amounts(needs)} each"


def _free(
    node: Node, needs: Mapping[str, float], taken: Mapping[str, Mapping[str, float]]
) -> list[tuple[float, float]]:
    """What is left of each resource that is needed, and how much of it that is."""
    used = taken.get(node.id, {})
    return [(node.resources.get(r, 0.0) - used.get(r, 0.0), amount) for r, amount in needs.items()]


def _least(model: ModelConfig) -> int:
    return model.replicas.min if isinstance(model.replicas, ReplicaRange) else model.replicas


def _too_big(name: str, model: ModelConfig, nodes: list[Node]) -> str | None:
    wanted, spans = needs(model.resources), model.resources.nodes
    return None if room(wanted, nodes, {}, spans) else f"{name}: {_larger_than_all(wanted, nodes, spans)}"


def _larger_than_all(needs: Mapping[str, float], nodes: list[Node], spans: int) -> str:
    wanted = f"one replica needs {each_of(needs, spans)}"
    types = {name for node in nodes for name in node.resources if name.startswith(ACCELERATOR)}
    if {name for name in needs if name.startswith(ACCELERATOR)} - types:
        there = ", ".join(sorted(name.removeprefix(ACCELERATOR) for name in types))
        return f"{wanted}; the nodes have {f'GPUs of type {there}' if there else 'no GPUs that tell their type'}"
    largest = {r: max(node.resources.get(r, 0) for node in nodes) for r in needs if not r.startswith(ACCELERATOR)}
    if len(nodes) < spans:
        return f"{wanted}; the cluster has {len(nodes)} node{'' if len(nodes) == 1 else 's'}"
    if spans > 1:
        fitting = [node for node in nodes if room(needs, [node], {})]
        return f"{wanted}; {_so_many(fitting, nodes)} so much, the largest has {amounts(largest)}"
    return f"{wanted}; the largest node has {amounts(largest)}"


def _so_many(fitting: list[Node], nodes: list[Node]) -> str:
    """`1 of the 3 nodes has`."""
    return f"{len(fitting) or 'none'} of the {len(nodes)} nodes {'have' if len(fitting) > 1 else 'has'}"


def _amount(resource: str, amount: float) -> str:
    number = round(amount / 2**30 if resource == "memory" else amount, 2)
    plural = "s" if resource in {"GPU", "CPU"} and number != 1 else ""
    return f"{number:g} {_UNITS.get(resource, resource)}{plural}"
