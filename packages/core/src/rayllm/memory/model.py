"""A model's own numbers, from its files: config.json and the headers of its weights, or the header of a GGUF file."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rayllm.errors import InputError
from rayllm.memory.architecture import Architecture, architecture
from rayllm.memory.safetensors import Weights, read_weights
from rayllm.serving.weights import gguf_header
from rayllm.serving.weights.hub_files import choose
from rayllm.sources import ModelFiles

_CONFIG = "config.json"
_MAX_CONFIG = 4 << 20
_GGUF = (1 << 20, 1 << 23, 1 << 26)
"""Bytes of a GGUF file that may hold its header, tokenizer included; more is read where that is not enough."""
_GGUF_KEYS = {
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "embedding_length": "hidden_size",
    "context_length": "max_position_embeddings",
}
"""Keys below the architecture's name, and what they are in `config.json`:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#llm."""


@dataclass(frozen=True, slots=True)
class Model:
    """What memory depends on."""

    weights: list[Weights]
    architecture: Architecture | None


def read_model(files: ModelFiles) -> Model:
    """Look into a model's files.

    Raises:
        RayllmError: they can't be read, or say too little.
    """
    names = list(files.sizes)
    if len(names) == 1 and names[0].lower().endswith(".gguf"):
        return _of_gguf(files, names[0])
    wanted = [name for name in choose("the source", files.sizes, None) if name in files.sizes]
    shards = [name for name in wanted if PurePosixPath(name).suffix == ".safetensors"]
    if _CONFIG not in files.sizes:
        raise InputError(f"there is no {_CONFIG} beside the weights")
    try:
        config: Any = json.loads(files.read(_CONFIG, 0, _MAX_CONFIG))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{_CONFIG} is no JSON object")
    found = architecture(config)
    if shards:
        return Model(read_weights(files, shards), found)
    others = [name for name in wanted if PurePosixPath(name).suffix in {".bin", ".pt"}]
    size = sum(files.sizes[name] for name in others)
    return Model([Weights("", 0, size)], found)


def _of_gguf(files: ModelFiles, name: str) -> Model:
    """A GGUF file: an engine's environment turns its weights into bfloat16."""
    for length in _GGUF:
        try:
            keys, weights = gguf_header.described(files.read(name, 0, length))
        except (struct.error, IndexError):
            continue
        return Model([Weights("BF16", weights, 2 * weights)], architecture(_config(keys)))
    raise InputError(f"the header of {name} can't be read")


def _config(keys: Mapping[str, int | str]) -> dict[str, Any]:
    kind = str(keys.get("general.architecture", ""))
    told = {name: keys.get(f"{kind}.{key}") for key, name in _GGUF_KEYS.items()}
    return {**told, "model_type": kind, "dtype": "bfloat16"}
