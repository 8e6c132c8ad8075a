"""The ways in which vLLM in particular fails to start, and what to do about each; core knows those of all engines."""

from __future__ import annotations

from rayllm import explained_by

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
        r"on startup is less than desired CPU memory utilization",
        (
            "the node has less free memory than options.gpu_memory_utilization takes of it: leave that out, and set "
            "options.kv_cache_gb"
        ),
    ),
    (
        r"User-specified max_model_len \(\d+\) is greater than the derived max_model_len \(\w+=(?P<what>\d+)",
        "options.max_model_len is longer than the model can do: set it to {what} at most, or leave it out",
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
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer|no file named tokenizer",
        (
            "the model's folder lacks its tokenizer: put tokenizer.json and tokenizer_config.json (or tokenizer.model) "
            "there, or name another folder that has it: options.engine_args: {{tokenizer: /PATH}}"
        ),
    ),
    (
        r"weights were not initialized from|to load weight \(|load_weights[\s\S]*size of tensor a .* must match",
        (
            "the weights are not those that config.json describes: take both from the same model and revision, and all "
            "files of the weights"
        ),
    ),
    (
        r"invalid (?:tool call parser|choice): ['\"]?(?P<what>[\w.-]+)",
        "this vLLM does not know {what!r}: choose one of those its message lists",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|libcuda\.so",
        "vLLM sees no GPU: check the driver on the node (nvidia-smi)",
    ),
)

explain = explained_by(_CAUSES)
"""What to do about the last lines of vLLM's log; None where nothing is known."""
