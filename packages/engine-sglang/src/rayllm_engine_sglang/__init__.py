"""SGLang for RayLLM, on CUDA GPUs and on CPUs."""

from __future__ import annotations

from collections.abc import Iterator

from rayllm import Engine, Gauges, hookimpl
from rayllm_engine_sglang.adapters import ADAPTERS
from rayllm_engine_sglang.arguments import ARGUMENTS
from rayllm_engine_sglang.checks import checks
from rayllm_engine_sglang.commands import commands
from rayllm_engine_sglang.environments import STREAMER, environments
from rayllm_engine_sglang.explain import explain
from rayllm_engine_sglang.memory import memory
from rayllm_engine_sglang.options import SglangOptions
from rayllm_engine_sglang.shape import shape

CAPABILITIES = frozenset(
    {
        *("chat", "completions", "embeddings", "gguf", "lora", "streaming", "structured-output", "tools"),
        *("tensor-parallel", "pipeline-parallel", "data-parallel", "expert-parallel", "multi-node"),
    }
)


@hookimpl
def rayllm_engines() -> Iterator[Engine[SglangOptions]]:
    """Offer `sglang`."""
    yield Engine(
        name="sglang",
        summary="SGLang, on CUDA GPUs and CPUs",
        options=SglangOptions,
        environment=environments(),
        extras={"load_format": {"runai_streamer": STREAMER}},
        commands=commands,
        capabilities=CAPABILITIES,
        endpoints={"/generate"},
        gauges=Gauges(
            running="sglang:num_running_reqs",
            waiting="sglang:num_queue_reqs",
            # `generation_tokens_total` counts a request at its end: one that generates for long would look hung.
            generated="sglang:realtime_tokens_total",
        ),
        explain=explain,
        shape=shape,
        memory=memory,
        check=checks,
        arguments=ARGUMENTS,
        adapters=ADAPTERS,
    )
