"""What SGLang's options mean for memory."""

from __future__ import annotations

from typing import Any

import pytest

from rayllm import Device, MemorySettings
from rayllm_engine_sglang.memory import memory
from rayllm_engine_sglang.options import SglangOptions

AVX2 = Device(kind="cpu", features=frozenset({"avx2"}))
CUDA = Device(kind="cuda")
ON_CPU = {"dtype": "float32", "pads_heads": True, "overhead": 2 << 30}


@pytest.mark.parametrize(
    ("device", "options", "told"),
    [
        (AVX2, {}, {**ON_CPU, "kv_tokens": 16384}),
        (AVX2, {"context_length": 32768}, {**ON_CPU, "length": 32768, "kv_tokens": 32768}),
        (AVX2, {"max_total_tokens": 4096}, {**ON_CPU, "kv_tokens": 4096}),
        (CUDA, {}, {"share": 0.85}),
        (CUDA, {"mem_fraction_static": 0.7, "attn_dp_size": 2}, {"share": 0.7, "pads_heads": True}),
        (CUDA, {"quantization": "fp8", "dtype": "float16"}, {"share": 0.85, "weight_bytes": 1.0, "dtype": "float16"}),
        (CUDA, {"engine_args": {"kv-cache-dtype": "fp8_e4m3"}}, {"share": 0.85, "kv_dtype": "fp8_e4m3"}),
    ],
)
def test_settings(device: Device, options: dict[str, Any], told: dict[str, Any]) -> None:
    """What is left out is SGLang's own default, or what RayLLM decides on a CPU."""
    assert memory(SglangOptions.model_validate(options), device, None) == MemorySettings(**told)
