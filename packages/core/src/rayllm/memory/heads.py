"""Whether a model can be split so: its heads and layers against the shape of a replica. Pure."""

from __future__ import annotations

from rayllm.memory.architecture import Architecture
from rayllm.shape import Shape


def cannot_split(found: Architecture, shape: Shape, *, pads: bool) -> str:
    """Why not, with the numbers and the sizes that work; empty where it can.

    Args:
        found: the model's numbers.
        shape: how a replica is split.
        pads: the engine pads heads that the parts don't divide.
    """
    if shape.pipeline > found.layers:
        return f"its {found.layers} layers can't be divided among {shape.pipeline} stages (pipeline parallel)"
    if pads or _divides(found, shape.tensor):
        return ""
    heads = f"its {found.heads} attention heads"
    # Latent attention keeps one vector for all heads.
    heads += "" if found.latent else f" and {found.kv_heads} KV heads"
    sizes = ", ".join(str(size) for size in range(1, found.heads + 1) if _divides(found, size))
    return f"{heads} can't be split into {shape.tensor} equal parts (tensor parallel); sizes that work: {sizes}"


def _divides(found: Architecture, size: int) -> bool:
    """Each part has as many heads, and its own KV heads or one that several parts share."""
    more, less = max(size, found.kv_heads), min(size, found.kv_heads)
    return found.heads % size == 0 and (bool(found.latent) or more % less == 0)
