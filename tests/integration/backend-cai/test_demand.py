"""What Ray's scheduler makes of waiting work and of workers that come, run or idle: without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from ray.core.generated.autoscaler_pb2 import (
    ClusterResourceState,
    NodeState,
    NodeStatus,
    ResourceRequest,
    ResourceRequestByCount,
)
from tests.cai_workers import group, wanted

from rayllm_backend_cai.node.demand import needs
from rayllm_backend_cai.shared import Wanted

GB = 1 << 30


def waits(count: int, **bundle: float) -> ResourceRequestByCount:
    """So many replicas wait for this."""
    told = {name.replace("type_", "type:"): amount for name, amount in bundle.items()}
    return ResourceRequestByCount(request=ResourceRequest(resources_bundle=told), count=count)


def node(name: str, idle_s: float = 0, **total: float) -> NodeState:
    """A node that is alive, with all of it in use unless it idles."""
    return NodeState(
        node_id=name.encode(),
        instance_id=name,
        status=NodeStatus.IDLE if idle_s else NodeStatus.RUNNING,
        total_resources=total,
        available_resources=total if idle_s else {},
        idle_duration_ms=int(idle_s * 1000),
    )


HEAD = node("llm", **{"CPU": 1, "node:__internal_head__": 1})


def ask(told: Wanted, *state: Any, **workers: list[str]) -> tuple[dict[str, int], frozenset[str]]:
    """What is needed where the head is alive, with these nodes and this waiting work."""
    found = ClusterResourceState(
        node_states=[HEAD, *(one for one in state if isinstance(one, NodeState))],
        pending_resource_requests=[one for one in state if isinstance(one, ResourceRequestByCount)],
    )
    return needs(found, told, {name: workers.get(name, []) for name in told.groups})


RANGES = wanted(
    cpu=group(0, 3, cpus=4, memory=16),
    gpu=group(0, 2, cpus=8, memory=64, gpus=1, accelerator="L40S"),
    fixed=group(2, cpus=2),
)


@pytest.mark.parametrize(
    ("waiting", "more"),
    [
        ([], {}),
        ([waits(1, CPU=4)], {"cpu": 1}),
        ([waits(2, CPU=3)], {"cpu": 2}),
        ([waits(2, CPU=2)], {}),  # the fixed ones that come have room
        ([waits(3, CPU=4)], {"cpu": 3}),
        ([waits(4, CPU=4)], {"cpu": 3, "gpu": 1}),
        ([waits(1, CPU=1, GPU=1, accelerator_type_L40S=0.001)], {"gpu": 1}),
        ([waits(5, GPU=1)], {"gpu": 2}),
        ([waits(1, memory=32 * GB)], {"gpu": 1}),
        ([waits(1, GPU=1, accelerator_type_H100=0.001), waits(1, CPU=64)], {}),
    ],
)
def test_what_waits_says_how_many_of_what(waiting: list[Any], more: dict[str, int]) -> None:
    """From none, up to the most; a GPU node for what needs no GPU only where nothing else fits."""
    found = ask(RANGES, *waiting, fixed=["llm-fixed-1", "llm-fixed-2"])
    assert found[0] == more


def test_one_that_comes_counts() -> None:
    """A start takes minutes: nothing more is made meanwhile, nor when the head alone has started anew."""
    assert not ask(RANGES, waits(1, GPU=1), gpu=["llm-gpu-1"])[0]
    assert ask(RANGES, waits(2, GPU=1), gpu=["llm-gpu-1"])[0] == {"gpu": 1}


def test_nodes_of_a_last_life_are_nobody() -> None:
    """They do not serve, and their names are others' now."""
    dead = NodeState(node_id=b"old", instance_id="llm-gpu-1", status=NodeStatus.DEAD, total_resources={"GPU": 1})
    found = ask(RANGES, dead, waits(1, GPU=1), gpu=["llm-gpu-1"])
    assert not found[0]
    assert not found[1]


def test_who_idles_for_long_may_go() -> None:
    """Of ranges alone, unless something waits for just that."""
    told = [node("llm-gpu-1", 301, GPU=1, CPU=8), node("llm-gpu-2", 60, GPU=1, CPU=8), node("llm-fixed-1", 999, CPU=2)]
    there = {"gpu": ["llm-gpu-1", "llm-gpu-2"], "fixed": ["llm-fixed-1"]}
    assert ask(RANGES, *told, **there)[1] == {"llm-gpu-1"}
    assert not ask(RANGES, *told, waits(2, GPU=1), **there)[1]


def test_the_least_of_a_range_stays() -> None:
    """However long it idles."""
    least = wanted(gpu=group(1, 2, gpus=1))
    there = [node("llm-gpu-1", 301, GPU=1), node("llm-gpu-2", 400, GPU=1)]
    assert len(ask(least, *there, gpu=["llm-gpu-1", "llm-gpu-2"])[1]) == 1


def test_without_ranges_nothing_is_asked() -> None:
    """Numbers are fixed."""
    assert ask(wanted(fixed=group(2)), waits(9, CPU=1)) == ({}, frozenset())
