"""The old tool's model settings, in a file or in a program's dictionary, as a model's block of RayLLM's file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from rayllm_backend_cai.migrate.old import Block

DEFAULT_ENGINE = "vllm"
CPU_CORES = 4
"""What the old tool reserved for a model without GPUs."""
GPU_CORES = 2
"""What it reserved beside one GPU."""
NAMES = {
    "vllm": {
        "max_model_len": "max_model_len",
        "gpu_memory_utilization": "gpu_memory_utilization",
        "tensor_parallel_size": "tensor_parallel_size",
    },
    "sglang": {
        "max_model_len": "context_length",
        "gpu_memory_utilization": "mem_fraction_static",
        "tensor_parallel_size": "tp_size",
    },
}
"""By engine, the old tool's words and that engine's own."""
_DTYPES = {"half": "float16", "float": "float32", "auto": None}
"""Those that RayLLM writes otherwise, or leaves out."""
_FORMATS = frozenset({"safetensors", "mistral", "dummy", "sharded_state"})
_GONE = {
    "gpu_device": "Ray chooses the GPUs, as it did before: left out",
    "download_dir": "weights are kept below RAYLLM_HOME of the nodes, once for all models: left out",
    "disable_log_stats": "RayLLM reads the engine's figures for `status` and scaling: left out",
    "enable_prefix_caching": "the engines do so by themselves now: left out",
}


@dataclass
class Model:
    """A model of the new file."""

    name: str
    """What clients send as `model`."""
    block: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)
    """The file's `secrets:` that it needs."""


def model_of(old: Block, *, use_cpu: bool = False, gpus_per_node: int | None = None, engine: str = "") -> Model:
    """The model that the old settings describe; what has no counterpart is told.

    Args:
        old: the old settings. Everything in them is taken.
        use_cpu: whether it runs without GPUs, whatever they say.
        gpus_per_node: GPUs of a worker, where it is known: a model of more spans several.
        engine: the engine, whatever they say.
    """
    told = old.text("engine")
    engine = engine or told or DEFAULT_ENGINE
    source, key = _source(old)
    on_cpu = old.flag("use_cpu") or use_cpu
    size = old.whole("tensor_parallel_size", least=1) or 1
    words = NAMES.get(engine, NAMES["vllm"])
    options: dict[str, Any] = {
        words["max_model_len"]: old.whole("max_model_len") or None,
        "dtype": _dtype(old),
        "load_format": _load_format(old),
        words["gpu_memory_utilization"]: _share(old, on_cpu=on_cpu, renamed=engine == "sglang"),
        words["tensor_parallel_size"]: size if size > 1 and not on_cpu else None,
        "trust_remote_code": old.flag("trust_remote_code") or None,
        "chat_template": old.text("custom_chat_template") or None,
    }
    model = Model(_name(source))
    model.block = {"engine": engine, "source": _uri(old, key, source)}
    if options := {name: value for name, value in options.items() if value is not None}:
        model.block["options"] = options
    model.block["resources"] = _resources(old, size, on_cpu=on_cpu, gpus_per_node=gpus_per_node)
    _hub_token(old, model)
    if model.name != source:
        old.tell(key, f"clients send {model.name} as `model` now: a name there has no slash")
    if engine not in NAMES:
        old.tell("engine", f"RayLLM's engines are plugins; {engine} needs one: docs/tutorials/engine.md")
    for word, text in _GONE.items():
        old.tell(word, text)
    return model


def _source(old: Block) -> tuple[str, str]:
    """Where the weights are, as the old file says it, and which key does."""
    told = {key: old.text(key) for key in ("model_source", "model")}
    key = "model_source" if told["model_source"] else "model"
    if not told[key]:
        old.notes.refuse((*old.path, key), "the model's name is required, and missing")
    return told[key], key


def _uri(old: Block, key: str, source: str) -> str:
    if source.startswith(("./", "../", "~")):
        old.notes.refuse((*old.path, key), "write the path as it is on the nodes, from the root")
    return source if "://" in source or source.startswith("/") else f"hf://{source}"


def _name(source: str) -> str:
    last = source.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last)[:80].strip("._-") or "model"


def _dtype(old: Block) -> str | None:
    told = old.text("dtype")
    return _DTYPES.get(told, told) or None


def _load_format(old: Block) -> str | None:
    told = old.text("load_format")
    if not told or told == "auto" or told in _FORMATS:
        return None if told == "auto" else told or None
    old.tell("load_format", f"RayLLM fetches no weights for {told}: left out")
    return None


def _share(old: Block, *, on_cpu: bool, renamed: bool) -> float | None:
    told = old.number("gpu_memory_utilization")
    if told is None:
        return None
    if on_cpu:
        old.tell("gpu_memory_utilization", "without GPUs it says nothing: left out")
        return None
    if renamed:
        old.tell("gpu_memory_utilization", "mem_fraction_static counts weights and KV cache alone: see whether it fits")
    return told


def _resources(old: Block, size: int, *, on_cpu: bool, gpus_per_node: int | None) -> dict[str, Any]:
    if on_cpu:
        return {"gpus": 0, "cpus": CPU_CORES}
    if not gpus_per_node or size <= gpus_per_node:
        return {"gpus": size, "cpus": size if size > 1 else GPU_CORES}
    nodes, left = divmod(size, gpus_per_node)
    if left:
        old.notes.refuse(
            (*old.path, "tensor_parallel_size"),
            f"{size} GPUs can't be shared out evenly over workers of {gpus_per_node}",
        )
    old.tell("tensor_parallel_size", f"one replica spans {nodes} workers of {gpus_per_node} GPUs")
    return {"gpus": gpus_per_node, "cpus": gpus_per_node, "nodes": nodes}


def _hub_token(old: Block, model: Model) -> None:
    if old.text("hf_token"):
        model.secrets["HF_TOKEN"] = {"env": "HF_TOKEN"}
        old.tell("hf_token", "a secret stands in no file: HF_TOKEN is read from the environment. Make a new token")
        old.notes.steps["export HF_TOKEN=…"] = "the Hugging Face token; the nodes get it as a file of its own"
