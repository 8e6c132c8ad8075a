"""What a person may write under `options:` of a model that vLLM serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from rayllm import Options

Number = Annotated[float, Field(strict=False)]


LoadFormat = Literal[
    "auto", "safetensors", "mistral", "dummy", "sharded_state", "runai_streamer", "runai_streamer_sharded"
]


class VllmOptions(Options):
    """vLLM's settings. What is left out is vLLM's own default, or chosen by RayLLM for the device where it says so."""

    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt and answer together, in tokens; by default what the model was made for."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    """Type of the weights. RayLLM: `float32` on a CPU that does not compute in bfloat16, else vLLM's choice."""
    quantization: str | None = Field(default=None, min_length=1)
    """How the weights are quantised, where the model does not say so itself: `fp8`, `bitsandbytes`, …"""
    load_format: LoadFormat = "auto"
    """How the weights are read. `runai_streamer`: safetensors by many threads at once, with a package that RayLLM puts
    into an environment for it; `sharded_state`, `runai_streamer_sharded`: what vLLM has saved split already; `dummy`:
    not at all, they are random."""
    gpu_memory_utilization: Number | None = Field(default=None, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes."""
    kv_cache_gb: Number | None = Field(default=None, gt=0)
    """Memory for the KV cache in GiB (on GPUs: of each). RayLLM, on a CPU: half of `resources.memory`, else 2."""
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    """Parts that each layer is split into. RayLLM: the GPUs of the replica that the other sizes leave, 1 on a CPU."""
    pipeline_parallel_size: int = Field(default=1, ge=1)
    """Stages that the layers are divided among."""
    data_parallel_size: int = Field(default=1, ge=1)
    """Copies of the model in one replica, which share its requests."""
    enable_expert_parallel: bool = False
    """Spread the experts of a mixture over all parts, instead of splitting each."""
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
    """Serve LoRA adapters. RayLLM: true for a model whose `adapters:` the file names; written out, the model takes
    adapters that come later (`rayllm adapters add`)."""
    max_loras: int = Field(default=4, ge=1)
    """Adapters in one batch, at most; vLLM keeps memory for each. RayLLM: 4, vLLM's own is 1. Needs `enable_lora`."""
    max_cpu_loras: int = Field(default=16, ge=1)
    """Adapters that a replica holds, at most, in main memory. RayLLM: 16, vLLM's own is `max_loras`. Needs
    `enable_lora`."""
    max_lora_rank: Literal[1, 8, 16, 32, 64, 128, 256, 320, 512] = 16
    """The highest rank of any adapter. Needs `enable_lora`."""
    runner: Literal["auto", "generate", "pooling"] = "auto"
    """`pooling` for embeddings, rerankers and classifiers, where vLLM does not see it itself."""
    convert: Literal["auto", "none", "embed", "classify"] = "auto"
    """Make an embedding model (`embed`) or a classifier of a model that generates text. Goes with `runner: pooling`."""
    engine_args: dict[str, JsonValue] = Field(default_factory=dict)
    """Any other flag of vLLM's server, with or without dashes: `{max-num-batched-tokens: 4096}`. `true` and `false`
    turn a switch on and off, a mapping is passed as JSON."""

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> VllmOptions:
        given = [name for name in ("max_loras", "max_cpu_loras", "max_lora_rank") if name in self.model_fields_set]
        if given and not self.enable_lora:
            raise ValueError(f"{' and '.join(given)} without adapters: enable_lora: true, or `adapters:` of the model")
        if self.max_cpu_loras < self.max_loras:
            raise ValueError(f"max_cpu_loras {self.max_cpu_loras} is less than max_loras {self.max_loras}")
        if self.convert in {"embed", "classify"} and self.runner == "generate":
            raise ValueError(f"convert: {self.convert} needs runner: pooling")
        return self
