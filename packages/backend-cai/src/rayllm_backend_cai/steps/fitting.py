"""Models that no node of the file can hold, by what Ray is told that each has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rayllm import Node, Refusal
from rayllm.config.schema import ModelConfig, Resources
from rayllm.deployment.fit import amounts, each_of, room, too_many
from rayllm.deployment.placement import ACCELERATOR, needs
from rayllm_backend_cai.node.ray_command import GB, OWN, resources
from rayllm_backend_cai.options import CaiOptions, NodeOptions
from rayllm_backend_cai.shared import Shape
from rayllm_backend_cai.steps.accelerators import as_ray
from rayllm_backend_cai.steps.rules import HEAD, range_of

_MODEL = re.compile(r"[A-Z]+\d+[A-Z]*", re.IGNORECASE)
"""A GPU's name, and no other part of what a workspace calls it: `L40S`, and neither `NVIDIA` nor `80GB`."""
_MORE = "ask for less, or for larger nodes in cluster.options"
_CURES = {
    "cpus": f"{_MORE}; Ray counts whole cores of each node",
    "memory": f"{_MORE}; Ray itself takes {OWN / GB:g} GiB of each node",
    "accelerator": "another accelerator, here or of a group of cluster.options.workers",
    "nodes": "fewer nodes, or a higher count of a group of cluster.options.workers",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """Nodes that are alike."""

    name: str
    most: int
    has: Mapping[str, float]
    """By Ray's resource names."""
    accelerator: str | None
    """As the file names it."""

    def nodes(self, spans: int) -> list[Node]:
        """So many of them as one replica could use."""
        count = min(spans, self.most)
        return [Node(id=f"{self.name} {number}", state="alive", resources=self.has) for number in range(count)]

    def words(self, wanted: Mapping[str, float]) -> str:
        """What it has of that."""
        if not self.most:
            return f"{self.name} has no nodes"
        whose = self.name if self.name == HEAD else f"each of {self.name} (at most {self.most})"
        kind = {f"{ACCELERATOR}{self.accelerator}": 1.0} if self.accelerator else {}
        return f"{whose} has {amounts({name: self.has.get(name, 0) for name in wanted} | kind)}"


def misfits(options: CaiOptions, models: Mapping[str, ModelConfig]) -> Iterator[Refusal]:
    """Models whose replicas would wait for ever: for larger nodes, or for more of them than there will be."""
    kinds = [_kind(HEAD, 1, options.head)]
    kinds += [_kind(name, range_of(group)[1], group) for name, group in options.workers.items()]
    wrong = {name: key for name, model in models.items() if (key := _wrong(model.resources, kinds)) is not None}
    for name, key in wrong.items():
        asked = models[name].resources
        plain = _plain(asked)
        there = "; ".join(kind.words(plain) for kind in kinds)
        yield Refusal(
            key=("models", name, "resources", *key),
            message=f"one replica needs {each_of(needs(asked), asked.nodes)}; {there}",
            cure=_CURES.get(key[0] if key else "", _MORE),
        )
    if not wrong and all(len(set(range_of(group))) == 1 for group in options.workers.values()):
        yield from _together(kinds, models)


def _together(kinds: Sequence[_Kind], models: Mapping[str, ModelConfig]) -> Iterator[Refusal]:
    """What all models exceed, where no nodes come by themselves."""
    whole = [
        Node(id=kind.name, state="alive", resources={name: kind.most * amount for name, amount in kind.has.items()})
        for kind in kinds
    ]
    for line in too_many(models, whole):
        yield Refusal(
            key=("models",), message=line, cure="fewer replicas, or a higher count in cluster.options.workers"
        )


def _kind(name: str, most: int, node: NodeOptions) -> _Kind:
    shape = Shape(cpus=node.cpus, memory=node.gigabytes, gpus=node.gpus, runtime="")
    return _Kind(name, most, resources(shape), node.accelerator)


def _plain(asked: Resources) -> dict[str, float]:
    """What is asked for, but the GPUs' type: what Ray calls that of a node, the workspace alone knows."""
    return {name: amount for name, amount in needs(asked).items() if not name.startswith(ACCELERATOR)}


def _wrong(asked: Resources, kinds: Sequence[_Kind]) -> tuple[str, ...] | None:
    """Which of the keys below `resources` asks for too much, none for several together; None where it fits."""
    plain = _plain(asked)
    for key, resource in (("gpus", "GPU"), ("cpus", "CPU"), ("memory", "memory")):
        if resource in plain and not _fits({resource: plain[resource]}, kinds):
            return (key,)
    able = [kind for kind in kinds if asked.accelerator is None or _may_be(kind.accelerator, asked.accelerator)]
    if asked.gpus and not _fits({"GPU": asked.gpus}, able):
        return ("accelerator",)
    if not _fits(plain, able):
        return ()
    return None if _fits(plain, able, asked.nodes) else ("nodes",)


def _fits(wanted: Mapping[str, float], kinds: Sequence[_Kind], spans: int = 1) -> bool:
    return bool(room(wanted, [node for kind in kinds for node in kind.nodes(spans)], {}, spans))


def _may_be(told: str | None, wanted: str) -> bool:
    """Whether GPUs that the file calls `told` may be of Ray's type `wanted`: unless both name a model, and not one."""
    ours, theirs = (as_ray(told) or told if told else "").lower(), wanted.partition("-")[0].lower()
    both_known = _MODEL.fullmatch(ours) and _MODEL.fullmatch(theirs)
    return not both_known or ours in theirs or theirs in ours
