"""The memory that models need, as a person reads it in a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rayllm.deployment.memory import MemoryEstimate
from rayllm.memory.estimate import PartNeeds
from rayllm.memory.fit import gib


def memory_lines(found: Iterable[MemoryEstimate]) -> Iterator[tuple[str, str | None]]:
    """Lines with their style. What is refused is told elsewhere."""
    for one in found:
        if one.part is None:
            yield f"  memory of {one.model}: not known: {one.unknown}", "dim"
            continue
        yield _amounts(one, one.part), None
        yield _formula(one, one.part), "dim"
        if one.warning:
            yield f"  ! {one.model}: {one.warning}", "warning"


def _amounts(one: MemoryEstimate, part: PartNeeds) -> str:
    """`memory of m: weights 33.0 GiB + KV cache 5.0 GiB + engine 2.0 GiB of 43.8 GiB (…); was 34.9 GiB`."""
    cache = part.kv_cache if part.kv_cache is not None else part.kv_of_longest
    terms = {"weights": part.weights, "KV cache": cache, "engine": part.overhead or None}
    told = " + ".join(f"{name} {gib(size)}" for name, size in terms.items() if size is not None)
    room = f" of {gib(one.room)} ({one.room_source})" if one.room else ", and the nodes have not reported theirs"
    was = f"; was {gib(one.was)}" if one.was else ""
    return f"  memory of {one.model}: {told}{room}{was}"


def _formula(one: MemoryEstimate, part: PartNeeds) -> str:
    if part.kv_per_token is None:
        return f"      KV cache not known: {part.kv_formula}"
    each = f"{part.kv_per_token / 1024:g} KiB a token = {part.kv_formula}"
    holds = "" if one.longest_at_once is None else f"; holds {one.longest_at_once:g} of {part.length} tokens at once"
    return f"      {one.shape}; KV cache: {each}{holds}"
