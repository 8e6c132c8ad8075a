"""Whether a folder is a LoRA adapter for a model: told before an engine loads it, which would say less, or stop.

An adapter, as peft saves it, has `adapter_config.json` and `adapter_model.safetensors` (or `.bin`). For each module of
the model that it changes there are two tensors, `base_model.model.MODULE.lora_A.weight` of the shape (rank, in) and
`….lora_B.weight` of (out, rank); the model's own `MODULE.weight` has the shape (out, in).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rayllm.engines import Adapters
from rayllm.errors import InputError
from rayllm.serving.adapters.tensors import Tensor, tensors_of

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PART = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_LAYER = re.compile(r"\.\d+\.")
_PLAIN = ("F", "BF")
"""How the types of numbers that are stored one by one begin; quantised ones are packed, and have other shapes."""
_ANOTHER = "an adapter fits the model that it was trained on: name that one, or an adapter made for this model"


def require_fit(adapter: Path, model: Path, engine: Adapters, highest: int) -> None:
    """Check that the folder `adapter` can be loaded for the model in the folder `model`.

    What can't be told from the files (weights in `.bin`, quantised or renamed modules) is left to the engine.

    Args:
        adapter: the adapter's folder.
        model: the model's folder.
        engine: how the engine takes adapters.
        highest: the highest rank that it takes.

    Raises:
        InputError: it is no LoRA adapter, of too high a rank, or made for another model; with both sizes.
    """
    config = _config(adapter)
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    rank = max((rank for rank in ranks if isinstance(rank, int)), default=0)
    if rank > highest:
        raise InputError(
            f"the adapter in {adapter} has the rank {rank}, and the model is served with {highest} at most",
            cure=f"options.{engine.rank}: {rank} or more in the file, then: rayllm up",
            topic="adapters",
        )
    weights = adapter / WEIGHTS[0]
    if not weights.exists():
        return
    parts = dict(_parts(tensors_of(weights)))
    base: dict[str, Tensor] = {}
    for file in sorted(model.glob("*.safetensors")):
        base |= tensors_of(file)
    changed = {_last(module) for module, _ in parts}
    modules = {_last(name.removesuffix(".weight")) for name in base}
    if engine.refuse and (why := engine.refuse(changed, modules)):
        raise InputError(f"the engine can't load the adapter in {adapter}", cause=why, topic="adapters")
    for (module, part), tensor in parts.items():
        if wrong := _misfit(module, part, tensor, base):
            told = config.get("base_model_name_or_path")
            raise InputError(
                f"the adapter in {adapter} is for another model: {wrong}",
                cause=f"it says that it was made for {told}" if told else None,
                cure=_ANOTHER,
                topic="adapters",
            )


def _config(adapter: Path) -> Mapping[str, Any]:
    """What peft wrote about the adapter."""
    file = adapter / CONFIG
    cure = "name the folder or repository that peft's save_pretrained made"
    if not file.is_file():
        raise InputError(f"{adapter} is no adapter: it has no {CONFIG}", cure=cure, topic="adapters")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise InputError(f"{file} is no JSON", cause=str(problem), cure=cure, topic="adapters") from problem
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise InputError(f"{adapter} is no LoRA adapter: its peft_type is {kind!r}", cure=cure, topic="adapters")
    if not any((adapter / name).is_file() for name in WEIGHTS):
        raise InputError(f"{adapter} has no weights: no {' or '.join(WEIGHTS)}", cure=cure, topic="adapters")
    return dict(config)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """The two tensors of every module."""
    for name, tensor in tensors.items():
        if found := _PART.fullmatch(name):
            yield (found["module"], found["part"]), tensor


def _misfit(module: str, part: str, tensor: Tensor, base: Mapping[str, Tensor]) -> str:
    """Why a part can't belong to the model, with both sizes; empty where it may."""
    own = base.get(f"{module}.weight")
    if own is None:
        first = _LAYER.sub(".0.", module, count=1)
        return f"it changes {module}, and the model has no such layer" if f"{first}.weight" in base else ""
    if not own.dtype.startswith(_PLAIN) or len(own.shape) != 2 or len(tensor.shape) != 2:  # noqa: PLR2004 - a matrix
        return ""
    side, mine, its = ("in", tensor.shape[1], own.shape[1]) if part == "A" else ("out", tensor.shape[0], own.shape[0])
    return f"{module} is {mine} wide there ({side}), and {its} in the model" if mine != its else ""
