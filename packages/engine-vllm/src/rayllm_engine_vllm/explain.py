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
        r"DefaultCPUAllocator: can't allocate memory|\[Errno 12\] Cannot allocate memory",
        (
            "the node's memory does not hold the model: a smaller or a quantised one, a lower options.kv_cache_gb, or "
            "a node with more memory (resources.memory reserves it)"
        ),
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
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer|no file named tokenizer",
        (
            "the model's folder lacks its tokenizer: put tokenizer.json and tokenizer_config.json (or tokenizer.model) "
            "there, or name another folder that has it: options.engine_args: {{tokenizer: /PATH}}"
        ),
    ),
    (
        r"SafetensorError: Error while deserializing header",
        (
            "the weights are not whole: a file was cut off, or is git-lfs' pointer to it, or an error page; fetch it "
            "anew, and compare its size with the one at the model's source"
        ),
    ),
    (
        r"Cannot find any model weights",
        "the model's folder has no weights: put its .safetensors files there, all of them",
    ),
    (
        r"weights were not initialized from|to load weight \(|load_weights[\s\S]*size of tensor a .* must match",
        (
            "the weights are not those that config.json describes: take both from the same model and revision, and all "
            "files of the weights"
        ),
    ),
    (r"is not a valid JSON file", "a settings file of the model is damaged: fetch it anew"),
    (
        r"does not appear to have a file named|Can't load the configuration|Invalid repository ID or local directory",
        "the model's folder lacks files: its source must be a whole model in Hugging Face layout, or a .gguf file",
    ),
    (
        r"Unknown quantization method: (?P<what>\w+)",
        "this vLLM does not know {what!r}: set options.quantization to one that its message lists, or leave it out",
    ),
    (
        r"Cannot find the config file for (?P<what>\w+)",
        "the model is not quantised with {what}: leave options.quantization out, or take a model that is",
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
