"""Which build of torch a CPU environment gets: the one on PyPI is for CUDA, gigabytes that fail to import."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from rayllm.sources import FetchProgress

if TYPE_CHECKING:
    from rayllm.serving.prepare.uv import Uv


def cpu_torch_flags(tool: Uv, python: str, requires: Sequence[str], report: FetchProgress) -> list[str]:
    """Flags for `uv pip install` that make torch a CPU build.

    None are needed where no torch is wanted, where the person chose a backend (UV_TORCH_BACKEND), or where an index or
    find-links of this machine has the CPU build: by its local version (`+cpu`) it wins there. Else uv is sent to
    PyTorch's own CPU index, whose address it knows.
    """
    torch = next((one for one in map(Requirement, requires) if one.name == "torch"), None)
    if torch is None or "UV_TORCH_BACKEND" in os.environ or sys.platform != "linux":
        return []
    exact = [spec.version for spec in torch.specifier if spec.operator == "=="]
    if len(exact) != 1 or "+" in exact[0]:
        return []
    report("looking for a CPU build of torch")
    wanted = f"torch=={exact[0]}+cpu"
    if tool.succeeds(["pip", "install", "--dry-run", "--no-deps", "--python", python, wanted]):
        return []
    return ["--torch-backend", "cpu"]
