"""What vLLM's options mean for memory. Pure."""

from __future__ import annotations

from rayllm import Device, MemorySettings
from rayllm_engine_vllm.commands import decided_on_cpu
from rayllm_engine_vllm.options import VllmOptions

_GIB = 1 << 30
_SHARE = 0.92
"""vLLM's own default of gpu_memory_utilization (`vllm/config/cache.py` of 0.32)."""
_ON_GPU = 2 * _GIB
"""CUDA's context, graphs and activations: roughly, they grow with the batch."""
_ON_CPU = 2 * _GIB
"""Python and torch in each of its three processes, as seen on a CPU."""
_QUANTIZED = {"fp8": 1.0, "fp8_per_tensor": 1.0, "bitsandbytes": 0.55}
"""Bytes of a weight by what vLLM quantises to while it loads; bitsandbytes has 4 bits and a scale for each 64."""


def memory(options: VllmOptions, device: Device, reserved: int | None) -> MemorySettings:
    """As `commands` starts it."""
    decided = decided_on_cpu(device, reserved) if device.kind == "cpu" else {}
    kv_cache = decided.get("kv-cache-memory-bytes") if options.kv_cache_gb is None else options.kv_cache_gb * _GIB
    return MemorySettings(
        length=options.max_model_len,
        dtype=options.dtype or str(decided.get("dtype", "")),
        weight_bytes=_QUANTIZED.get(options.quantization or ""),
        kv_dtype=str(options.engine_args.get("kv-cache-dtype", "")),
        kv_cache=None if kv_cache is None else int(kv_cache),
        share=options.gpu_memory_utilization or _SHARE if device.kind == "cuda" else 1.0,
        overhead=_ON_CPU if device.kind == "cpu" else _ON_GPU,
    )
