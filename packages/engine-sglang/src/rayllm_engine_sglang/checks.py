"""What `rayllm doctor` asks of a machine that SGLang is to run on."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from rayllm import Check, Device, nvidia_driver

DRIVER = 580
"""The oldest driver for CUDA 13, with which the packages of `locks/cuda.txt` are built."""
GLIBC = (2, 34)
"""The oldest C library that SGLang's wheels are built for."""


def checks(device: Device) -> Iterator[Check]:
    """The C library, and the GPUs' driver."""
    name, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if name == "glibc" and numbers < GLIBC:
        cure = "take a newer system: Debian 12, Ubuntu 22.04 or RHEL 9"
        detail = f"glibc is {version}; SGLang's packages need 2.34 or newer"
        yield Check(name="sglang", state="fail", detail=detail, cure=cure)
    elif device.kind == "cuda":
        yield from nvidia_driver("sglang", "SGLang's packages are for CUDA 13", DRIVER)
    else:
        shown = ", ".join(sorted(device.features)) or platform.machine()
        yield Check(name="sglang", detail=f"runs on this CPU ({shown}), with PyTorch's own kernels")
