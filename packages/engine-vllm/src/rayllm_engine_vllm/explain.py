"""The commonest ways in which vLLM fails to start, and what to do about each."""

from __future__ import annotations

import re

_CAUSES = (
    (
        r"KV cache is needed, which is larger than[\s\S]*estimated maximum model length is (?P<what>\d+)",
        (
            "the KV cache is too small for the model's length: options.max_model_len: {what} fits, or set "
            "options.kv_cache_gb (on GPUs options.gpu_memory_utilization) higher"
        ),
    ),
    (
        r"No available memory for the cache blocks|KV cache is needed, which is larger than",
        (
            "the KV cache is too small for the model's length: set options.max_model_len lower, or options.kv_cache_gb "
            "(on GPUs options.gpu_memory_utilization) higher"
        ),
    ),
    (
        r"allocation is less than requested memory for kv",
        "the node has less free memory than the KV cache takes: set options.kv_cache_gb lower, or free memory",
    ),
    (
        r"User-specified max_model_len .* is greater than|max_model_len .* greater than the derived",
        "options.max_model_len is longer than the model can do: set it lower or leave it out",
    ),
    (
        r"CUDA out of memory|torch\.OutOfMemoryError|OutOfMemoryError",
        (
            "the GPU's memory does not hold the model: more GPUs (resources.gpus), a quantised model, a lower "
            "options.max_model_len or options.max_num_seqs, or another process has to leave the GPU"
        ),
    ),
    (
        r"Free memory on device .* is less than desired GPU memory utilization",
        "another process holds memory of this GPU: end it, or set options.gpu_memory_utilization lower",
    ),
    (
        r"must be divisible by tensor parallel size|divisible by.*tensor.parallel",
        (
            "the model's attention heads can't be split into so many parts: set options.tensor_parallel_size to a "
            "divisor of their number"
        ),
    ),
    (
        r"Model architectures .* (are not supported|failed to be inspected)|does not recognize this architecture",
        (
            "this vLLM does not know the model's architecture: use a model it lists as supported, or a newer vLLM by "
            "`environment:`"
        ),
    ),
    (
        r"trust_remote_code=True|contains custom code which must be executed",
        "the model brings Python code: set options.trust_remote_code: true if you trust where it comes from",
    ),
    (r"Address already in use", "another process took the port meanwhile: the replica tries again on another one"),
    (
        r"does not appear to have a file named|no file named .*config\.json|Can't load the configuration",
        "the model's folder lacks files: its source must be a whole model in Hugging Face layout, or a .gguf file",
    ),
    (
        r"unrecognized arguments: (?P<what>[^\n]+)",
        "this vLLM has no such flag: take {what} out of options.engine_args",
    ),
    (
        r"invalid (?:tool call parser|choice): ['\"]?(?P<what>[\w.-]+)",
        "this vLLM does not know {what!r}: choose one of those its message lists",
    ),
    (
        r"no kernel image is available|CUDA driver version is insufficient|driver on your system is too old",
        "this GPU or its driver is too old for this build of torch: update the driver",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|libcuda\.so",
        "vLLM sees no GPU: check the driver on the node (nvidia-smi)",
    ),
)


def explain(log: str) -> str | None:
    """What to do about the last lines of vLLM's log; None where nothing is known."""
    for pattern, advice in _CAUSES:
        if match := re.search(pattern, log):
            return advice.format(**match.groupdict())
    return None
