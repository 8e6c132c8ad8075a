"""How much memory each part of a replica needs. Pure.

Weights: the tensors of the files, those in floating point in the type that is computed in, divided by the tensor and
pipeline parallel sizes (experts by all parts where they are spread). KV cache of one token: keys and values of each
layer, `2 × layers × KV heads × head_dim × bytes` (Kwon et al. 2023, https://arxiv.org/abs/2309.06180, section 3), or
the latent vector of multi-head latent attention, `layers × (kv_lora_rank + qk_rope_head_dim) × bytes` (DeepSeek-V2,
https://arxiv.org/abs/2405.04434, table 1). Where there are more parts than KV heads, each part has one head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from rayllm.engines import MemorySettings
from rayllm.memory.architecture import Architecture
from rayllm.memory.model import Model
from rayllm.shape import Shape

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "half": 2, "float": 4, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
"""Types of weights that are turned into the one that is computed in; others, quantised ones, stay as they are."""
_HALF = 2
"""Engines compute in 16 bits, also what was made in 32, unless they are told not to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartNeeds:
    """Bytes that one part of a replica needs: on one GPU, or in one process on a CPU."""

    weights: int
    """The model's weights."""
    kv_per_token: int | None
    """KV cache of each token, of those that keep all; null where that is not known."""
    length: int | None
    """Longest prompt and answer together, in tokens; null where that is not known."""
    kv_of_longest: int | None
    """KV cache of one request of that length; null where that is not known."""
    kv_formula: str
    """How `kv_per_token` comes about, or why it is not known, in words."""
    kv_cache: int | None
    """KV cache that the settings ask for, null where it takes what is left."""
    overhead: int
    """What the engine takes beside both, roughly."""

    @property
    def total(self) -> int:
        """The least that it needs."""
        return self.weights + self.overhead + (self.kv_cache or self.kv_of_longest or 0)


def part_needs(model: Model, settings: MemorySettings, shape: Shape) -> PartNeeds:
    """What each part needs; the one with the most layers, where they can't be divided evenly."""
    found = model.architecture
    width = BYTES.get(settings.dtype, _HALF)
    length = settings.length or (found.length if found else None)
    per_token = longest = None
    formula = found.unknown if found else "config.json lacks layers, heads or their size"
    if found and not found.unknown:
        kept = BYTES.get(settings.kv_dtype, width) * elements_of(found, shape)
        layers = {limit: ceil(count / shape.pipeline) for limit, count in found.caching.items()}
        per_token = kept * layers.get(None, 0)
        longest = _of_longest(layers, kept, length) if length else None
        formula = _formula(found, layers, shape, kept)
    cache = settings.kv_cache
    if cache is None and settings.kv_tokens and per_token is not None:
        cache = settings.kv_tokens * per_token
    return PartNeeds(
        weights=sum(_weights(model, settings, width, shape)),
        kv_per_token=per_token,
        length=length,
        kv_of_longest=longest,
        kv_formula=formula,
        kv_cache=cache,
        overhead=settings.overhead,
    )


def longest_that_fits(needs: PartNeeds, room: int) -> int | None:
    """The longest request, in tokens, whose KV cache fits into `room` bytes; None where that is not known."""
    return room // needs.kv_per_token if needs.kv_per_token else None


def elements_of(found: Architecture, shape: Shape) -> int:
    """Numbers that one token keeps in one layer of one part."""
    return found.latent or 2 * max(1, found.kv_heads // shape.tensor) * found.head_dim


def _formula(found: Architecture, layers: dict[int | None, int], shape: Shape, kept: int) -> str:
    elements = elements_of(found, shape)
    heads = f"{elements // 2 // found.head_dim} KV heads × {found.head_dim}"
    of_token = f"{found.latent} latent" if found.latent else f"2 × {heads}"
    windows = "".join(f", {count} more layers keep {limit} tokens" for limit, count in layers.items() if limit)
    return f"{layers.get(None, 0)} layers × {of_token} × {kept // elements} bytes{windows}" if layers else "no KV cache"


def _of_longest(layers: dict[int | None, int], kept: int, length: int) -> int:
    return sum(count * kept * min(length, limit or length) for limit, count in layers.items())


def _weights(model: Model, settings: MemorySettings, width: int, shape: Shape) -> Iterator[int]:
    """Bytes of each kind of tensor on one part."""
    split = shape.tensor * shape.pipeline
    quantized = model.architecture is not None and model.architecture.quantized
    for one in model.weights:
        size: float = one.elements * width if one.dtype in _FLOATS else one.size
        if settings.weight_bytes and one.dtype in _FLOATS and not quantized:
            size = one.elements * settings.weight_bytes
        yield ceil(size / (shape.parts if one.expert and shape.expert else split))
