"""What `rayllm doctor` asks of a machine that vLLM is to run on."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from rayllm import Check, Device, nvidia_driver

DRIVER = 580
"""The oldest driver for CUDA 13, with which the packages of `locks/cuda.txt` are built."""


def checks(device: Device) -> Iterator[Check]:
    """The CPU's instructions, or the GPUs' driver."""
    if device.kind == "cuda":
        yield from nvidia_driver("vllm", "vLLM's packages are for CUDA 13", DRIVER)
    elif platform.machine() == "x86_64" and not device.features & {"avx2", "avx512f"}:
        cure = "take a machine with AVX2 (since about 2013), or tell the virtual machine to pass it on"
        yield Check(name="vllm", state="fail", detail="this CPU has no AVX2, which vLLM is built for", cure=cure)
    else:
        shown = ", ".join(sorted(device.features)) or platform.machine()
        yield Check(name="vllm", detail=f"runs on this CPU ({shown})")
