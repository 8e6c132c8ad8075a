"""Can the models run on the nodes there are: asked before anything changes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rayllm.backends import Node
from rayllm.config.schema import ModelConfig, ReplicaRange

_UNITS = {"GPU": "GPU", "CPU": "CPU core", "memory": "GiB of memory"}


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


def _least(model: ModelConfig) -> int:
    return model.replicas.min if isinstance(model.replicas, ReplicaRange) else model.replicas


def _too_big(name: str, model: ModelConfig, nodes: list[Node]) -> str | None:
    needs = _needs(model)
    if any(all(node.resources.get(r, 0) >= amount for r, amount in needs.items()) for node in nodes):
        return None
    wants = ", ".join(_amount(resource, amount) for resource, amount in needs.items())
    largest = ", ".join(_amount(r, max(node.resources.get(r, 0) for node in nodes)) for r in needs)
    return f"{name}: one replica needs {wants}; the largest node has {largest}"


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
    unit = _UNITS[resource]
    return f"{number:g} {unit}{'s' if resource != 'memory' and number != 1 else ''}"
