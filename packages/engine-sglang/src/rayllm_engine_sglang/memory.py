"""What SGLang's options mean for memory. Pure."""

from __future__ import annotations

from rayllm import Device, MemorySettings
from rayllm_engine_sglang.commands import decided_on_cpu
from rayllm_engine_sglang.options import SglangOptions

_GIB = 1 << 30
_SHARE = 0.85
"""About what SGLang takes for weights and KV cache where nobody says: it leaves room for prefill and graphs by the size
of the GPU (`sglang/srt/arg_groups/memory_hook.py` of 0.5.23)."""
_ON_CPU = 2 * _GIB
"""Python and torch in each of its three processes, as seen on a CPU."""
_QUANTIZED = {"fp8": 1.0, "w8a8_fp8": 1.0, "bitsandbytes": 0.55}
"""Bytes of a weight by what SGLang quantises to while it loads; bitsandbytes has 4 bits and a scale for each 64."""


def memory(options: SglangOptions, device: Device, reserved: int | None) -> MemorySettings:
    """As `commands` starts it."""
    del reserved
    decided = decided_on_cpu(device, options) if device.kind == "cpu" else {}
    tokens = options.max_total_tokens or decided.get("max-total-tokens")
    return MemorySettings(
        length=options.context_length,
        dtype=options.dtype or str(decided.get("dtype", "")),
        weight_bytes=_QUANTIZED.get(options.quantization or ""),
        kv_dtype=str(options.engine_args.get("kv-cache-dtype", "")),
        kv_tokens=None if tokens is None else int(tokens),
        share=options.mem_fraction_static or _SHARE if device.kind == "cuda" else 1.0,
        # On a CPU it pads them (`adjust_config_with_unaligned_cpu_tp`); with groups for attention, those count.
        pads_heads=device.kind == "cpu" or options.attn_dp_size > 1,
        overhead=_ON_CPU if device.kind == "cpu" else 0,
    )
