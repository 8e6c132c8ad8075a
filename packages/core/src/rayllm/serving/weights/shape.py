"""Whether a folder is a model that this node can load: told before an engine starts, which would say less."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from rayllm.engines import Device
from rayllm.errors import InputError
from rayllm.serving.prepare.room import in_words
from rayllm.serving.weights.hub_files import weights_of

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_SETTINGS = frozenset({"config.json", "params.json"})
"""Hugging Face's, and Mistral's own."""
_TOKENIZER = ("tokenizer", "tokenization", "tekken", "vocab", "spiece", "sentencepiece", "merges")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def require_model(folder: Path, options: Mapping[str, Any], device: Device) -> None:
    """Check that the folder has what an engine needs, and fits.

    A folder without weights is not judged: the engine may know what to do with it.

    Args:
        folder: the model's.
        options: the engine's; those that speak of a tokenizer say that it may be elsewhere.
        device: a CPU loads the weights into main memory.

    Raises:
        InputError: settings or tokenizer are missing, or the weights are larger than the memory.
    """
    weights = [path for path in folder.iterdir() if path.suffix in _WEIGHTS]
    if not weights:
        return
    require_files({path.name for path in folder.iterdir()}, folder, tokenizer="tokenizer" not in json.dumps(options))
    if device.kind == "cpu":
        loaded = [folder / name for name in weights_of(PurePosixPath(path.name) for path in weights)]
        require_memory(sum(path.stat().st_size for path in loaded), memory_of_node(), folder)


def require_files(names: Iterable[str], folder: Path, *, tokenizer: bool) -> None:
    """Check that there are settings, and a tokenizer if one is needed, among the names of a model's files.

    Raises:
        InputError: there are none.
    """
    found = set(names)
    if not found & _SETTINGS:
        raise InputError(
            f"{folder} has weights, but neither config.json nor Mistral's params.json beside them",
            cure="name the folder or repository of the whole model: an adapter or a part of one can't be served alone",
            topic="weights-incomplete",
        )
    if tokenizer and not any(_is_tokenizer(name) for name in found):
        raise InputError(
            f"{folder} has no tokenizer: no tokenizer.json, tokenizer.model, vocab.* or tekken.json",
            cure=(
                "put the original model's tokenizer files beside the weights, or name another tokenizer in the "
                "engine's arguments"
            ),
            topic="weights-incomplete",
        )


def require_memory(needed: int, total: int, folder: Path) -> None:
    """Check that weights of `needed` bytes fit into `total` bytes of main memory.

    Raises:
        InputError: they don't; with both numbers.
    """
    if needed > total:
        raise InputError(
            f"{folder} can't be loaded: its weights have {in_words(needed)}, this node's memory {in_words(total)}",
            cure="serve a smaller or quantized model, use GPUs (resources.gpus), or a node with more memory",
            topic="memory",
        )


def memory_of_node() -> int:
    """Bytes of main memory of this machine, or of the container if it is given less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no such file, or `max`
        return total


def _is_tokenizer(name: str) -> bool:
    lower = name.lower()
    return lower.startswith(_TOKENIZER) or lower.endswith((".tiktoken", ".spm"))
