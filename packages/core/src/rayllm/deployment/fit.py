"""Can the models run on the nodes there are: asked before anything changes, and when one waits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rayllm.backends import Node
from rayllm.config.schema import ModelConfig, ReplicaRange

_UNITS = {"GPU": "GPU", "CPU": "CPU core", "memory": "GiB of memory"}
_ROUNDING = 1e-6
"""Ray counts in ten-thousandths; sums of floats miss by less."""


def misfits(models: Mapping[str, ModelConfig], nodes: Iterable[Node]) -> list[str]:
    """One line for each model that no node can hold, and for a resource that all models together exceed."""
    alive = [node for node in nodes if node.state == "alive"]
    if not alive:
        return []
    problems = [line for name, model in models.items() if (line := _too_big(name, model, alive))]
    return problems or _too_many(models, alive)


def _needs(model: ModelConfig) -> dict[str, float]:
    needs = {"GPU": float(model.resources.gpus), "CPU": model.resources.cpus}
    if model.resources.memory:
        needs["memory"] = float(model.resources.memory)
    return {resource: amount for resource, amount in needs.items() if amount}


def room(needs: Mapping[str, float], nodes: Iterable[Node], taken: Mapping[str, Mapping[str, float]]) -> int:
    """How many replicas the nodes have room for.

    Args:
        needs: what one replica needs, by Ray's resource names.
        nodes: dead ones count for nothing.
        taken: what is in use already, by node id.
    """
    return sum(
        min(int((free + _ROUNDING) / amount) for free, amount in _free(node, needs, taken))
        for node in nodes
        if node.state == "alive"
    )


def shortage(needs: Mapping[str, float], nodes: Iterable[Node], taken: Mapping[str, Mapping[str, float]]) -> str:
    """Why a replica that waits has no node, with the numbers; empty where the nodes should have room for it."""
    alive = [node for node in nodes if node.state == "alive"]
    if not alive or room(needs, alive, taken):
        return ""
    if not room(needs, alive, {}):
        return _larger_than_all(needs, alive)
    free = {node.id: dict(zip(needs, (left for left, _ in _free(node, needs, taken)), strict=True)) for node in alive}
    most = max(free.values(), key=lambda left: min(left[r] / amount for r, amount in needs.items()))
    return f"one replica needs {amounts(needs)}; no node has that free, the best has {amounts(most)}"


def amounts(needs: Mapping[str, float]) -> str:
    """`2 GPUs, 1 CPU core, 8 GiB of memory`."""
    return ", ".join(_amount(resource, max(0.0, amount)) for resource, amount in needs.items())


def _free(
    node: Node, needs: Mapping[str, float], taken: Mapping[str, Mapping[str, float]]
) -> list[tuple[float, float]]:
    """What is left of each resource that is needed, and how much of it that is."""
    used = taken.get(node.id, {})
    return [(node.resources.get(r, 0.0) - used.get(r, 0.0), amount) for r, amount in needs.items()]


def _least(model: ModelConfig) -> int:
    return model.replicas.min if isinstance(model.replicas, ReplicaRange) else model.replicas


def _too_big(name: str, model: ModelConfig, nodes: list[Node]) -> str | None:
    needs = _needs(model)
    return None if room(needs, nodes, {}) else f"{name}: {_larger_than_all(needs, nodes)}"


def _larger_than_all(needs: Mapping[str, float], nodes: list[Node]) -> str:
    largest = {r: max(node.resources.get(r, 0) for node in nodes) for r in needs}
    return f"one replica needs {amounts(needs)}; the largest node has {amounts(largest)}"


def _too_many(models: Mapping[str, ModelConfig], nodes: list[Node]) -> list[str]:
    problems = []
    for resource in _UNITS:
        needed = sum(_needs(model).get(resource, 0) * _least(model) for model in models.values())
        there = sum(node.resources.get(resource, 0) for node in nodes)
        if needed > there:
            problems.append(
                f"all models together need {_amount(resource, needed)}; the cluster has {_amount(resource, there)}"
            )
    return problems


def _amount(resource: str, amount: float) -> str:
    number = round(amount / 2**30 if resource == "memory" else amount, 2)
    plural = "s" if resource in {"GPU", "CPU"} and number != 1 else ""
    return f"{number:g} {_UNITS.get(resource, resource)}{plural}"
