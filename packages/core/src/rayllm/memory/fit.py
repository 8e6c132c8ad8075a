"""Whether a model fits: what its parts need against the memory of the nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from rayllm.cluster.hardware import Hardware
from rayllm.config.schema import Resources
from rayllm.engines import MemorySettings
from rayllm.memory.estimate import PartNeeds, longest_that_fits
from rayllm.shape import Shape

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that one part of a replica may take."""

    size: int
    """Bytes, by what the file says."""
    most: int
    """Bytes that there are at all."""
    source: str
    """What `size` is a part of, in words."""


def room_of(resources: Resources, shape: Shape, settings: MemorySettings, nodes: Iterable[Hardware]) -> Room | None:
    """The most that a part can have on any of the nodes; None where they have not reported it.

    Args:
        resources: what a replica asks for.
        shape: how it is split.
        settings: how much of a GPU the engine takes.
        nodes: those that are alive.
    """
    if resources.gpus:
        return _on_gpus(resources, settings.share, nodes)
    most = max((node.memory for node in nodes), default=0)
    if not most and not resources.memory:
        return None
    reserved = int(resources.memory or most)
    size = min(reserved, most or reserved)
    source = "resources.memory" if size < most or not most else "the memory of the largest node"
    parts = ceil(shape.parts / resources.nodes)
    among = f", {gib(size)} for {parts} parts" if parts > 1 else ""
    return Room(size // parts, (most or size) // parts, source + among)


def _on_gpus(resources: Resources, share: float, nodes: Iterable[Hardware]) -> Room | None:
    """The smallest GPU of the best node that has so many, of the type that is asked for if the GPUs' names tell it."""
    able = [node for node in nodes if len(node.gpus) >= resources.gpus]
    kind = (resources.accelerator or "").partition("-")[0]
    able = [node for node in able if any(kind in gpu.name for gpu in node.gpus)] or able
    smallest = [min(node.gpus, key=lambda gpu: gpu.memory) for node in able]
    if not smallest:
        return None
    best = max(smallest, key=lambda gpu: gpu.memory)
    of_it = f"{share:g} of the " if share < 1 else ""
    return Room(int(best.memory * share), best.memory, f"{of_it}{gib(best.memory)} of each {best.name}")


def too_large(needs: PartNeeds, room: Room) -> str:
    """Why a model can't start whatever is set; empty where its weights fit."""
    if needs.weights <= room.most:
        return ""
    return f"the weights of each part need {gib(needs.weights)}, and the largest there is has {gib(room.most)}"


def tight(needs: PartNeeds, room: Room | None) -> str:
    """Why it may not start with these settings, and what would help; empty where it should."""
    if needs.kv_cache is not None and needs.kv_of_longest is not None and needs.kv_of_longest > needs.kv_cache:
        fitting = longest_that_fits(needs, needs.kv_cache)
        return (
            f"one request of {needs.length} tokens takes {gib(needs.kv_of_longest)} of KV cache, more than its "
            f"{gib(needs.kv_cache)}: {_shorter(fitting)}a larger KV cache"
        )
    if room is None or needs.total <= room.size:
        return ""
    if needs.kv_cache is not None:
        return f"{_too_much(needs, room)}: a smaller KV cache, {_LESS}"
    fitting = longest_that_fits(needs, max(0, room.size - needs.weights - needs.overhead))
    return f"{_too_much(needs, room)}: {_shorter(fitting)}{_LESS}"


def longest_at_once(needs: PartNeeds, room: Room | None) -> float | None:
    """How many requests of the longest kind the KV cache holds; None where that is not known."""
    if not needs.kv_of_longest:
        return None
    cache = needs.kv_cache
    if cache is None and room:
        cache = max(0, room.size - needs.weights - needs.overhead)
    return None if cache is None else round(cache / needs.kv_of_longest, 1)


def gib(size: float) -> str:
    """`35.3 GiB`."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / GIB:.2f} GiB"


_LESS = "more parts (GPUs), quantised weights, or larger nodes would help"


def _too_much(needs: PartNeeds, room: Room) -> str:
    return f"each part needs {gib(needs.total)}, and has {gib(room.size)}"


def _shorter(fitting: int | None) -> str:
    return f"{fitting} tokens would fit, or " if fitting else ""
