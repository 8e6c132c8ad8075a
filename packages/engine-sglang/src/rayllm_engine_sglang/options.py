"""What a person may write under `options:` of a model that SGLang serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from rayllm import Options

Number = Annotated[float, Field(strict=False)]
LORA = ("max_loras_per_batch", "max_loaded_loras", "max_lora_rank", "lora_target_modules", "lora_backend")
"""Options that say something only where adapters are served."""


LoadFormat = Literal[
    "auto", "safetensors", "mistral", "dummy", "sharded_state", "layered", "bitsandbytes", "runai_streamer"
]


class SglangOptions(Options):
    """SGLang's settings. What is left out is SGLang's own default, or RayLLM's choice where it says so."""

    context_length: int | None = Field(default=None, ge=1)
    """Longest prompt and answer together, in tokens; by default what the model was made for."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = None
    """Type of the weights. RayLLM: `float32` on a CPU that does not compute in bfloat16, else SGLang's choice."""
    quantization: str | None = Field(default=None, min_length=1)
    """How the weights are quantised, where the model does not say so itself: `fp8`, `awq`, …"""
    load_format: LoadFormat = "auto"
    """How the weights are read. `runai_streamer`: safetensors by many threads at once, with a package that RayLLM puts
    into an environment for it; `sharded_state`: what SGLang has saved split already; `dummy`: not at all, they are
    random."""
    mem_fraction_static: Number | None = Field(default=None, gt=0, lt=1)
    """Share of each GPU's memory for weights and KV cache."""
    max_total_tokens: int | None = Field(default=None, ge=1)
    """Tokens that the KV cache holds. RayLLM, on a CPU: 16384, or `context_length` if that is more; SGLang would take
    most of the node's memory."""
    tp_size: int | None = Field(default=None, ge=1)
    """Parts that each layer is split into (tensor parallel). RayLLM: the GPUs of the replica that the other sizes
    leave, 1 on a CPU."""
    pp_size: int = Field(default=1, ge=1)
    """Stages that the layers are divided among (pipeline parallel)."""
    dp_size: int = Field(default=1, ge=1)
    """Copies of the model in one replica, which share its requests (data parallel); on one node alone."""
    attn_dp_size: int = Field(default=1, ge=1)
    """Groups within `tp_size` that share the requests for attention alone (data parallel attention): for models whose
    KV cache can't be split. Takes no more GPUs."""
    ep_size: int = Field(default=1, ge=1)
    """Groups within `tp_size` that the experts of a mixture are spread over (expert parallel). Takes no more GPUs."""
    max_running_requests: int | None = Field(default=None, ge=1)
    """Requests computed at the same time, at most."""
    seed: int | None = None
    """Of the random numbers that sampling takes."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    chat_template: str | None = Field(default=None, min_length=1)
    """Name of a chat template that SGLang knows, or the path of one on the nodes; by default the model's own."""
    tool_call_parser: str | None = Field(default=None, min_length=1)
    """Let the model call tools, in this format: `qwen`, `llama3`, `mistral`, …"""
    reasoning_parser: str | None = Field(default=None, min_length=1)
    """Format in which the model thinks aloud: `deepseek-r1`, `qwen3`, …"""
    embedding: bool = False
    """Serve `/v1/embeddings` instead of text: for embedding models."""
    sleep_on_idle: bool | None = None
    """Let the scheduler sleep while there is nothing to do. RayLLM: on a CPU true, else an idle engine takes a core."""
    enable_lora: bool = False
    """Serve LoRA adapters. RayLLM: true for a model whose `adapters:` the file names; written out, the model takes
    adapters that come later (`rayllm adapters add`)."""
    max_loras_per_batch: int = Field(default=8, ge=2)
    """Adapters in one batch, at most, the model itself counted as one; SGLang keeps memory for so many. Needs
    `enable_lora`."""
    max_loaded_loras: int = Field(default=16, ge=1)
    """Adapters that a replica holds, at most, in main memory. RayLLM: 16, SGLang's own is no bound. Needs
    `enable_lora`."""
    max_lora_rank: int = Field(default=16, ge=1)
    """The highest rank of any adapter. Needs `enable_lora`."""
    lora_target_modules: list[str] = Field(default=["all"], min_length=1)
    """Modules that adapters may change (`q_proj`, `v_proj`, …); SGLang keeps memory for each. Needs `enable_lora`."""
    lora_backend: Literal["triton", "csgmv", "torch_native"] | None = None
    """Kernels that compute adapters. RayLLM: `torch_native` on a CPU, else SGLang's choice. Needs `enable_lora`."""
    engine_args: dict[str, JsonValue] = Field(default_factory=dict)
    """Any other flag of SGLang's server, with or without dashes: `{chunked-prefill-size: 2048}`. `true` is the bare
    switch, a mapping is passed as JSON."""

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> SglangOptions:
        if (given := [name for name in LORA if name in self.model_fields_set]) and not self.enable_lora:
            raise ValueError(f"{' and '.join(given)} without adapters: enable_lora: true, or `adapters:` of the model")
        if self.max_loaded_loras < self.max_loras_per_batch:
            raise ValueError(
                f"max_loaded_loras {self.max_loaded_loras} is less than max_loras_per_batch {self.max_loras_per_batch}"
            )
        if self.lora_target_modules != ["all"] and "all" in self.lora_target_modules:
            raise ValueError("lora_target_modules: all stands alone")
        return self
