"""What a person may write under `options:` of a model that vLLM serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from rayllm import Options

Scalar = bool | int | float | str
Number = Annotated[float, Field(strict=False)]

_OURS = {
    "api-key": "RayLLM guards the engine itself",
    "disable-log-stats": "RayLLM reads the engine's metrics",
    "headless": "RayLLM starts the ranks",
    "host": "RayLLM chooses the address",
    "master-addr": "RayLLM starts the ranks",
    "master-port": "RayLLM starts the ranks",
    "model": "write the model's `source:`",
    "nnodes": "RayLLM starts the ranks",
    "node-rank": "RayLLM starts the ranks",
    "port": "RayLLM chooses the port",
    "root-path": "RayLLM's gateway is in front of the engine",
    "served-model-name": "it is the model's name in the YAML",
    "ssl-ca-certs": "the engine listens on loopback",
    "ssl-certfile": "the engine listens on loopback",
    "ssl-keyfile": "the engine listens on loopback",
    "uds": "RayLLM chooses the address",
    "config": "write the settings here",
}
"""vLLM's flags that RayLLM sets, and why they can't be set here."""
_ALIASES = {
    "tp": "tensor-parallel-size",
    "q": "quantization",
    "r": "node-rank",
    "device-memory-utilization": "gpu-memory-utilization",
    "kv-cache-memory-bytes": "kv-cache-gb",
    "enable-auto-tool-choice": "tool-call-parser",
    "lora-modules": "enable-lora",
}
"""Other names of what is typed above."""


def flag_of(key: str) -> str:
    """The flag for a key of `engine_args`, without its dashes: `max_num_seqs` gives `max-num-seqs`."""
    return key.strip().lstrip("-").replace("_", "-")


class VllmOptions(Options):
    """vLLM's settings. What is left out is vLLM's own default, or chosen by RayLLM for the device where it says so."""

    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt and answer together, in tokens; by default what the model was made for."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    """Type of the weights. RayLLM: `float32` on a CPU that does not compute in bfloat16, else vLLM's choice."""
    quantization: str | None = Field(default=None, min_length=1)
    """How the weights are quantised, where the model does not say so itself: `fp8`, `bitsandbytes`, …"""
    gpu_memory_utilization: Number | None = Field(default=None, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes."""
    kv_cache_gb: Number | None = Field(default=None, gt=0)
    """Memory for the KV cache in GiB (on GPUs: of each). RayLLM, on a CPU: half of `resources.memory`, else 2."""
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    """Parts that each layer is split into. RayLLM: `resources.gpus`, and 1 on a CPU."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Requests computed at the same time, at most."""
    enforce_eager: bool | None = None
    """Don't compile or capture graphs: starts sooner. RayLLM: on a CPU true, since compiled code answers wrongly."""
    seed: int | None = None
    """Of the random numbers that sampling takes."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    chat_template: str | None = Field(default=None, min_length=1)
    """A chat template (Jinja), or the path of one on the nodes; by default the model's own."""
    tool_call_parser: str | None = Field(default=None, min_length=1)
    """Let the model call tools, in this format: `hermes`, `llama3_json`, `mistral`, …"""
    reasoning_parser: str | None = Field(default=None, min_length=1)
    """Format in which the model thinks aloud: `deepseek_r1`, `qwen3`, …"""
    enable_lora: bool = False
    """Serve LoRA adapters."""
    max_loras: int | None = Field(default=None, ge=1)
    """Adapters in one batch, at most. Needs `enable_lora`."""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] | None = None
    """The highest rank of any adapter. Needs `enable_lora`."""
    runner: Literal["auto", "generate", "pooling"] = "auto"
    """`pooling` for embeddings, rerankers and classifiers, where vLLM does not see it itself."""
    convert: Literal["auto", "none", "embed", "classify"] = "auto"
    """Make an embedding model (`embed`) or a classifier of a model that generates text. Goes with `runner: pooling`."""
    engine_args: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    """Any other flag of vLLM's server, with or without dashes: `{max-num-batched-tokens: 4096}`. `true` gives the bare
    flag, `false` its `--no-` form."""

    @field_validator("engine_args")
    @classmethod
    def _refuse_what_is_set_elsewhere(cls, value: dict[str, Scalar | list[Scalar]]) -> dict[str, Scalar | list[Scalar]]:
        seen: set[str] = set()
        for key in value:
            flag = flag_of(key)
            name = _ALIASES.get(flag.removeprefix("no-"), flag.removeprefix("no-"))
            if not flag:
                raise ValueError(f"{key!r} is no flag")
            if name in _OURS:
                raise ValueError(f"{key} can't be set here: {_OURS[name]}")
            if name.replace("-", "_") in cls.model_fields:
                raise ValueError(
                    f"{key} has an option of its own: write `{name.replace('-', '_')}:` beside engine_args"
                )
            if flag in seen:
                raise ValueError(f"{key} stands here twice")
            seen.add(flag)
        return value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> VllmOptions:
        if not self.enable_lora and (self.max_loras is not None or self.max_lora_rank is not None):
            raise ValueError("max_loras and max_lora_rank need enable_lora: true")
        if self.convert in {"embed", "classify"} and self.runner == "generate":
            raise ValueError(f"convert: {self.convert} needs runner: pooling")
        return self
