"""The kit's rules for engines, as far as they need no process; tests/e2e/engine-sglang has the others."""

from __future__ import annotations

from rayllm.testing import EngineConformance


class TestSglang(EngineConformance):
    """With options that change the command for each declared feature that has one."""

    engine = "sglang"
    options = (
        {},
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
    not_run = "tests/e2e/engine-sglang runs it"
