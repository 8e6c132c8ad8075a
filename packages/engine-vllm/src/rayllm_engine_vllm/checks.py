"""What `rayllm doctor` asks of a machine that vLLM is to run on."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator

from rayllm import Check, Device

DRIVER = 580
"""The oldest driver for CUDA 13, with which the packages of `locks/cuda.txt` are built."""
_SMI_S = 15.0


def checks(device: Device) -> Iterator[Check]:
    """The CPU's instructions, or the GPUs' driver."""
    if device.kind == "cuda":
        yield from _driver()
    elif platform.machine() == "x86_64" and not device.features & {"avx2", "avx512f"}:
        cure = "take a machine with AVX2 (since about 2013), or tell the virtual machine to pass it on"
        yield Check(name="vllm", state="fail", detail="this CPU has no AVX2, which vLLM is built for", cure=cure)
    else:
        shown = ", ".join(sorted(device.features)) or platform.machine()
        yield Check(name="vllm", detail=f"runs on this CPU ({shown})")


def _driver() -> Iterator[Check]:
    if not shutil.which("nvidia-smi"):
        return  # doctor says so itself
    argv = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=_SMI_S, check=False).stdout.split()
    major = said[0].partition(".")[0] if said else ""
    if not major.isdigit():
        return
    if int(major) < DRIVER:
        detail = f"NVIDIA's driver is {said[0]}; vLLM's packages are for CUDA 13, which needs {DRIVER} or newer"
        yield Check(name="vllm", state="fail", detail=detail, cure="upgrade NVIDIA's driver")
    else:
        yield Check(name="vllm", detail=f"runs with NVIDIA's driver {said[0]}")
