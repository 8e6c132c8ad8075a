"""Makes SGLang's packages work on a CPU; a `.pth` file imports this whenever the environment's Python starts.

SGLang takes the CPU only if it is told so. It imports torchvision, whose build on the package index is for CUDA: beside
a CPU build of torch its compiled part can't be loaded, and the import fails where it registers shapes for two operators
of that part. Their declarations are enough: no text model calls them.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec

os.environ.setdefault("SGLANG_USE_CPU_ENGINE", "1")
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _BeforeTorchvision:
    """Declares the operators just before torchvision is imported, and finds nothing itself."""

    @classmethod
    def find_spec(cls, name: str, *_: object) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(cls)
            import torch  # type: ignore[import-not-found]  # noqa: TID251 - runs in the engine's environment

            for operator in _OPERATORS:
                torch.library.define(f"torchvision::{operator}", _SCHEMA)
        return None


sys.meta_path.insert(0, _BeforeTorchvision)
