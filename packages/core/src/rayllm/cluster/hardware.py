"""What Ray's dashboard reports of each node's memory and GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    """`NVIDIA L40S`."""
    memory: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """One node."""

    memory: int
    """Main memory in bytes, or what the node's container may use."""
    gpus: tuple[Gpu, ...] = ()


def hardware_of(summary: Mapping[str, Any]) -> tuple[str, Hardware] | None:
    """A node's id and hardware, from its entry of `/nodes?view=summary`; None where its agent has not reported yet."""
    memory, node = summary.get("mem"), summary.get("raylet", {}).get("nodeId")
    if not memory or not node:
        return None
    gpus = (Gpu(str(gpu["name"]), int(gpu["memoryTotal"]) * _MIB) for gpu in summary.get("gpus") or ())
    return str(node), Hardware(int(memory[0]), tuple(gpus))
