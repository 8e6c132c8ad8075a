"""The kit's rules for engines, as far as they need no process; tests/e2e/engine-vllm has the others."""

from __future__ import annotations

from rayllm.testing import EngineConformance


class TestVllm(EngineConformance):
    """vLLM's options go with one another, so the kit is told of values that do."""

    engine = "vllm"
    options = (
        {},
        {"enable_lora": True, "max_loras": 2},
        {"enable_lora": True, "max_cpu_loras": 32},
        {"enable_lora": True, "max_lora_rank": 8},
        {"runner": "pooling", "convert": "embed"},
        {"engine_args": {"max-num-batched-tokens": 4096}},
    )
    feature_options = {  # noqa: RUF012
        "multi-node": {"tensor_parallel_size": 2},
        "tools": {"tool_call_parser": "hermes"},
        "embeddings": {"runner": "pooling", "convert": "embed"},
        "rerank": {"runner": "pooling", "convert": "classify"},
    }
    not_run = "tests/e2e/engine-vllm runs it"
