"""Models and LoRA adapters as files: what matters of them is their shapes, so the numbers are zeros."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

PROJECTION = "model.layers.{layer}.self_attn.{name}"


def save_tensors(file: Path, tensors: Mapping[str, tuple[int, ...]], dtype: str = "F32") -> None:
    """Write a safetensors file of four-byte zeros."""
    told, at = {}, 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        told[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(told).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(at))


def save_model(folder: Path, width: int = 8, layers: int = 2, dtype: str = "F32") -> Path:
    """A model's folder, with two square projections in each layer."""
    folder.mkdir(parents=True)
    names = [PROJECTION.format(layer=layer, name=name) for layer in range(layers) for name in ("q_proj", "v_proj")]
    save_tensors(folder / "model.safetensors", {f"{name}.weight": (width, width) for name in names}, dtype)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def save_adapter(
    folder: Path, width: int = 8, layers: int = 2, rank: int = 4, names: tuple[str, ...] = ("q_proj", "v_proj")
) -> Path:
    """An adapter's folder, as peft writes it for such a model."""
    folder.mkdir(parents=True)
    tensors: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        for name in names:
            module = f"base_model.model.{PROJECTION.format(layer=layer, name=name)}"
            tensors |= {f"{module}.lora_A.weight": (rank, width), f"{module}.lora_B.weight": (width, rank)}
    save_tensors(folder / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "r": rank, "rank_pattern": {}, "base_model_name_or_path": "org/base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
