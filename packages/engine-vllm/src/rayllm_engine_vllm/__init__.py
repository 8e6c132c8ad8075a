"""vLLM for RayLLM, on CUDA GPUs and on CPUs."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm import Adapters, Engine, Gauges, hookimpl
from rayllm_engine_vllm.arguments import ARGUMENTS
from rayllm_engine_vllm.checks import checks
from rayllm_engine_vllm.commands import commands
from rayllm_engine_vllm.environments import STREAMER, environments
from rayllm_engine_vllm.explain import explain
from rayllm_engine_vllm.memory import memory
from rayllm_engine_vllm.options import VllmOptions
from rayllm_engine_vllm.shape import shape

CAPABILITIES = frozenset(
    {
        *("chat", "completions", "embeddings", "gguf", "lora", "rerank"),
        *("streaming", "structured-output", "tools", "vision"),
        *("tensor-parallel", "pipeline-parallel", "data-parallel", "expert-parallel", "multi-node"),
    }
)

ENDPOINTS = frozenset(
    {
        *("/cohere/v2/chat", "/cohere/v2/chat/render", "/v2/embed"),
        *("/generative_scoring", "/inference/v1/generate", "/v1/systemone"),
        *("/v1/chat/completions/batch", "/v1/chat/completions/render", "/v1/chat/completions/derender"),
        *("/v1/completions/render", "/v1/completions/derender", "/v1/messages/render"),
    }
)


@hookimpl
def rayllm_engines() -> Iterator[Engine[VllmOptions]]:
    """Offer `vllm`."""
    yield Engine(
        name="vllm",
        summary="vLLM, on CUDA GPUs and CPUs",
        options=VllmOptions,
        environment=environments(),
        extras={"load_format": {"runai_streamer": STREAMER, "runai_streamer_sharded": STREAMER}},
        commands=commands,
        capabilities=CAPABILITIES,
        endpoints=ENDPOINTS,
        gauges=Gauges(
            running="vllm:num_requests_running",
            waiting="vllm:num_requests_waiting",
            generated="vllm:generation_tokens_total",
        ),
        explain=explain,
        shape=shape,
        memory=memory,
        check=checks,
        arguments=ARGUMENTS,
        adapters=Adapters(
            load="/v1/load_lora_adapter",
            unload="/v1/unload_lora_adapter",
            room="max_cpu_loras",
            rank="max_lora_rank",
        ),
    )
