"""What SGLang's environments hold: every package by its exact version, so they build the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from rayllm import Environment

PYTHON = ">=3.11,<3.14"
"""Versions that the locks cover."""
DISK = 2_400_000_000
"""What the one for a CPU takes, as measured; the one for CUDA takes more."""
STREAMER = ("humanize==4.17.0", "runai-model-streamer==0.17.1")
"""What `load_format: runai_streamer` needs, and the locks lack."""
_STAND_INS = {
    "sgl_kernel/__init__.py": "kernels.py",
    "rayllm_sglang_on_cpu.py": "on_cpu.py",
    "rayllm_sglang_lora_on_cpu.py": "lora_on_cpu.py",
}
"""Files of the environment for CPUs, and where their text stands in this package."""
_WITHOUT = (
    *("av", "blobfile", "build", "cuda-python", "datasets", "decord2", "deepseek-recipe", "easydict", "flash-attn-4"),
    *("flashinfer-python", "humming-kernels", "interegular", "kernels", "llguidance", "modelscope", "ninja", "numba"),
    *("nvidia-cutlass-dsl", "nvidia-mathdx", "nvidia-ml-py", "nvshmem4py-cu13", "outlines", "py-spy"),
    *("quack-kernels", "sgl-deep-ep", "sgl-deep-gemm", "sgl-flash-mla", "sgl-kernel", "sglang-kernel"),
    *("smg-grpc-servicer", "tilelang", "timm", "tml-renderers", "torch-memory-saver", "torchaudio", "torchcodec"),
)
"""What SGLang requires and its environment for a CPU goes without, as `locks/cpu.txt` does: it is for CUDA, or for
what a CPU is not asked to do."""
_AT_START = "import rayllm_sglang_on_cpu\nimport rayllm_sglang_lora_on_cpu\n"


def environments() -> Mapping[str, Environment]:
    """The environment by device: the same SGLang; on a CPU without what is for CUDA alone."""
    files = {path: _text("stand_ins", name) for path, name in _STAND_INS.items()}
    return {
        "cpu": _environment("cpu", {**files, "rayllm_sglang_on_cpu.pth": _AT_START}),
        "cuda": _environment("cuda", {}),
    }


def _environment(device: str, files: Mapping[str, str]) -> Environment:
    lines = _text("locks", f"{device}.txt").splitlines()
    return Environment(
        requires=tuple(line for line in lines if line and not line.startswith("#")),
        provides="sglang>=0.5.23,<0.5.24",
        python=PYTHON,
        locked=True,
        imports=("torch", "sglang.srt.server_args", "gguf"),
        disk=DISK,
        beside=("accelerate", "gguf"),
        without=_WITHOUT if device == "cpu" else (),
        files=files,
    )


def _text(folder: str, name: str) -> str:
    return resources.files(__package__).joinpath(folder).joinpath(name).read_text(encoding="utf-8")
