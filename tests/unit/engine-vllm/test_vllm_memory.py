"""What vLLM's options mean for memory."""

from __future__ import annotations

from typing import Any

import pytest

from rayllm import Device, MemorySettings
from rayllm_engine_vllm.memory import memory
from rayllm_engine_vllm.options import VllmOptions

GIB = 1 << 30
AVX2 = Device(kind="cpu", features=frozenset({"avx2"}))
AVX512 = Device(kind="cpu", features=frozenset({"avx512_bf16"}))
CUDA = Device(kind="cuda")


@pytest.mark.parametrize(
    ("device", "options", "reserved", "told"),
    [
        (AVX2, {}, None, {"dtype": "float32", "kv_cache": 2 * GIB}),
        (AVX512, {"max_model_len": 2048}, 8 * GIB, {"length": 2048, "kv_cache": 4 * GIB}),
        (AVX2, {"dtype": "bfloat16", "kv_cache_gb": 0.5}, None, {"dtype": "bfloat16", "kv_cache": GIB // 2}),
        (CUDA, {}, 8 * GIB, {"share": 0.92}),
        (CUDA, {"gpu_memory_utilization": 0.5, "kv_cache_gb": 1}, None, {"share": 0.5, "kv_cache": GIB}),
        (CUDA, {"quantization": "fp8"}, None, {"share": 0.92, "weight_bytes": 1.0}),
        (CUDA, {"engine_args": {"kv-cache-dtype": "fp8"}}, None, {"share": 0.92, "kv_dtype": "fp8"}),
    ],
)
def test_settings(device: Device, options: dict[str, Any], reserved: int | None, told: dict[str, Any]) -> None:
    """What is left out is vLLM's own default, or what RayLLM decides on a CPU."""
    found = memory(VllmOptions.model_validate(options), device, reserved)
    assert found == MemorySettings(overhead=2 * GIB, **told)
