"""From the options to `Wanted`, with what the workspace has; and what may change of a cluster that is there."""

from __future__ import annotations

from collections.abc import Mapping

from rayllm import ClusterError, ClusterSpec
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.options import CaiOptions, NodeOptions
from rayllm_backend_cai.shared import Group, Shape, Wanted
from rayllm_backend_cai.steps import accelerators, runtimes
from rayllm_backend_cai.steps.rules import HEAD, range_of, subdomain_of


def shapes(client: CaiClient, options: CaiOptions, stored: Wanted | None) -> tuple[dict[str, Shape], str]:
    """What the head and each group's nodes have, by group, the head's under `HEAD`; and their Python, as `3.11`.

    Raises:
        ClusterError: the workspace has no such runtime or accelerator.
    """
    nodes: dict[str, NodeOptions] = {HEAD: options.head, **options.workers}
    kept = {HEAD: stored.head.runtime, **{name: one.runtime for name, one in stored.groups.items()}} if stored else {}
    images, python = runtimes.choose(nodes, client.account.runtimes(), kept)
    labels = client.account.node_labels() if any(node.gpus for node in nodes.values()) else []
    found = {}
    for name, node in nodes.items():
        label, accelerator = accelerators.label_of(name, node, labels)
        found[name] = Shape(
            cpus=node.cpus,
            memory=node.gigabytes,
            gpus=node.gpus,
            accelerator=accelerator,
            accelerator_label=label,
            runtime=images[name],
        )
    return found, python


def wanted_of(spec: ClusterSpec, options: CaiOptions, found: Mapping[str, Shape], *, code: str, serving: str) -> Wanted:
    """What the cluster should be."""
    groups = {}
    for name, workers in options.workers.items():
        fewest, most = range_of(workers)
        groups[name] = Group(**found[name].model_dump(), min=fewest, max=most)
    return Wanted(
        name=spec.name,
        subdomain=subdomain_of(spec.name, options),
        bypass_authentication=options.bypass_authentication,
        code=code,
        serving=serving,
        head=found[HEAD],
        groups=groups,
        idle_minutes=options.idle_minutes,
    )


def require_same_groups(wanted: Wanted, stored: Wanted | None) -> None:
    """Whether the groups that are there already stay as they are, apart from how many nodes they have.

    Raises:
        ClusterError: nodes of a group would have to change, which nobody drains.
    """
    for name, group in wanted.groups.items():
        before = stored.groups.get(name) if stored else None
        if before is None or before.max == 0 or _amounts(before) == _amounts(group):
            continue
        changed = ", ".join(
            f"{key} {value} → {_amounts(group)[key]}"
            for key, value in _amounts(before).items()
            if value != _amounts(group)[key]
        )
        raise ClusterError(
            f"the workers {name} of {wanted.name} are there with other options: {changed}",
            cure=f"give the group another name: its nodes come, and those of {name} finish their requests and go. Or "
            "rayllm down, then rayllm up",
            topic="cai-application",
        )


def _amounts(shape: Shape) -> dict[str, object]:
    return shape.model_dump(include={"cpus", "memory", "gpus", "accelerator_label", "runtime"})
