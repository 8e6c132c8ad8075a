"""Where a replica may be: Ray's resource names, and Serve's options for them. Pure."""

from __future__ import annotations

from typing import Any

from rayllm.config.schema import Resources

ACCELERATOR = "accelerator_type:"
"""Begins the name of the resource by which a node tells the type of its GPUs."""
_SOME = 0.001
"""Of a resource that a node has 1 of, and that is asked for to get to such a node."""


def needs(resources: Resources) -> dict[str, float]:
    """What a replica needs on each of its nodes, by Ray's resource names."""
    wanted: dict[str, float] = {"GPU": resources.gpus, "CPU": resources.cpus, "memory": resources.memory or 0}
    found = {name: float(amount) for name, amount in wanted.items() if amount}
    return found | ({f"{ACCELERATOR}{resources.accelerator}": _SOME} if resources.accelerator else {})


def placement(resources: Resources) -> dict[str, Any]:
    """Serve's options: the replica's own actor, and for one on several nodes a bundle on each.

    Serve puts the actor into the first bundle, and wants its needs to be in there.
    """
    actor: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
    if resources.memory:
        actor["memory"] = int(resources.memory)
    if resources.nodes == 1:
        type_of = {"accelerator_type": resources.accelerator} if resources.accelerator else {}
        return {"ray_actor_options": actor | type_of}
    return {
        "ray_actor_options": actor,
        "placement_group_bundles": [needs(resources) for _ in range(resources.nodes)],
        "placement_group_strategy": "STRICT_SPREAD",
    }
