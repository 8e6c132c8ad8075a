"""What `rayllm doctor` finds; a plugin adds checks of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_SMI_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What: `ray`, `gateway port`, `disk`, …"""
    state: Literal["ok", "warn", "fail"] = "ok"
    """`fail`: it stands in the way; `warn`: it may."""
    detail: str
    """What was found; where something is wrong, its cause."""
    cure: str = ""
    """What to do about it; empty if `ok`."""


def nvidia_driver(name: str, product: str, oldest: int) -> Iterator[Check]:
    """Whether NVIDIA's driver on this machine is new enough; nothing where there is none: `doctor` itself says so.

    Args:
        name: the check's, such as the engine's.
        product: what needs it, with its CUDA: `vLLM's packages are for CUDA 13`.
        oldest: the oldest major version that will do.
    """
    import shutil
    import subprocess

    if not shutil.which("nvidia-smi"):
        return
    argv = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=_SMI_S, check=False).stdout.split()
    major = said[0].partition(".")[0] if said else ""
    if major.isdigit() and int(major) < oldest:
        detail = f"NVIDIA's driver is {said[0]}; {product}, which needs {oldest} or newer"
        yield Check(name=name, state="fail", detail=detail, cure="upgrade NVIDIA's driver")
    elif major.isdigit():
        yield Check(name=name, detail=f"runs with NVIDIA's driver {said[0]}")
