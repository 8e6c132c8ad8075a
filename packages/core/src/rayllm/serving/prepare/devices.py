"""What the engine's process computes on, on this node."""

from __future__ import annotations

from pathlib import Path

from rayllm.engines import Device

CPU_FEATURES = frozenset({"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16", "asimd"})
"""Kernel names of the CPU flags that an engine's settings may depend on (x86 and ARM)."""


def detect(gpus: int, cpuinfo: Path = Path("/proc/cpuinfo"), *, here: bool = True) -> Device:
    """The device of a replica that was given so many GPUs: `cuda` if it has any, else `cpu` with what this CPU can do.

    A GPU in the machine that the replica did not ask for does not count.

    Args:
        gpus: those of the replica, on each of its nodes.
        cpuinfo: what the kernel says of this machine's CPU.
        here: False where the replica will run on another machine, with a CPU like this one's.
    """
    if gpus > 0:
        return Device(kind="cuda", here=here)
    return Device(kind="cpu", features=_cpu_features(cpuinfo), here=here)


def _cpu_features(cpuinfo: Path) -> frozenset[str]:
    """The flags of the first CPU that /proc/cpuinfo lists; none where there is no such file."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return CPU_FEATURES.intersection(value.split())
    return frozenset()
