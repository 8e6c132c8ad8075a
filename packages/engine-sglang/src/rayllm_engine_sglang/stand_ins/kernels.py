"""Stands in for `sgl_kernel`, SGLang's compiled kernels, which are published for CUDA alone.

On a CPU, SGLang imports names that end in `_cpu` from here as it starts: kernels for speculative decoding and for
moving KV cache, which plain serving never calls. Without them it computes each layer with PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__version__ = "0.4.10"
"""The one that SGLang 0.5.23 asks for."""


def __getattr__(name: str) -> Callable[..., Any]:
    """A kernel that says, once it is called, that it is none."""
    if not name.endswith("_cpu"):
        raise AttributeError(f"sgl_kernel stands in for a CPU's kernels here, and has no {name}")

    def missing(*_: object, **__: object) -> None:
        raise NotImplementedError(f"{name} of sgl_kernel has no build for CPUs: leave out the feature that needs it")

    return missing
