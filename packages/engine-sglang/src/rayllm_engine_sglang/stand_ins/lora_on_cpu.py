"""Stands in for pinned memory, which SGLang's LoRA layers ask for on a CPU, too, where PyTorch has none and refuses.

Pinning makes copies to a GPU quicker and changes no value: without it a tensor is what it was. Leaving it out alters
PyTorch for the whole process, so it is done only where RayLLM starts an engine that serves adapters
(`RAYLLM_SGLANG_LORA`), and only once SGLang loads those layers. A `.pth` file imports this whenever the environment's
Python starts.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

_MAKERS = ("arange", "empty", "ones", "tensor", "zeros")


class _BeforeLoraLayers:
    """Takes pinning out of PyTorch just before SGLang's layers are imported, and finds nothing itself."""

    @classmethod
    def find_spec(cls, name: str, *_: object) -> ModuleSpec | None:
        if name == "sglang.srt.lora.layers":
            sys.meta_path.remove(cls)
            import torch  # type: ignore[import-not-found]  # noqa: TID251 - runs in the engine's environment

            for maker in _MAKERS:
                setattr(torch, maker, _unpinned(getattr(torch, maker)))
            torch.Tensor.pin_memory = lambda self, *_: self
        return None


def _unpinned(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(*args: Any, pin_memory: bool = False, **options: Any) -> Any:  # noqa: ARG001 - what it leaves out
        return make(*args, **options)

    return made


if os.environ.get("RAYLLM_SGLANG_LORA") == "1":
    sys.meta_path.insert(0, _BeforeLoraLayers)
