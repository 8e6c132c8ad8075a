"""Why engines fail to start, and what to do about it: a table that every engine shares and its plugin extends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Cause = tuple[str, str]
"""A regular expression for the engine's log, and what to do. `{what}` stands for the expression's group of that name;
any other brace is doubled."""

COMMON: Sequence[Cause] = (
    (
        r"DefaultCPUAllocator: can't allocate memory|\[Errno 12\] Cannot allocate memory",
        (
            "the node's memory does not hold the model: a smaller or a quantised one, a smaller KV cache, or a node "
            "with more memory (resources.memory reserves it)"
        ),
    ),
    (
        r"CUDA out of memory|torch\.OutOfMemoryError|OutOfMemoryError",
        (
            "the GPU's memory does not hold the model: more GPUs (resources.gpus), a quantised model, a shorter "
            "context, fewer requests at once, or another process has to leave the GPU"
        ),
    ),
    (
        r"trust_remote_code=True|contains custom code which must be executed",
        "the model brings Python code: set options.trust_remote_code: true if you trust where it comes from",
    ),
    (
        r"[Aa]ddress already in use",
        "another process took the port meanwhile: the replica tries again on another one",
    ),
    (
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer|no file named tokenizer",
        (
            "the model's folder lacks its tokenizer: put tokenizer.json and tokenizer_config.json (or tokenizer.model) "
            "there, or name another folder that has it under options"
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
    (r"is not a valid JSON file", "a settings file of the model is damaged: fetch it anew"),
    (
        r"does not appear to have a file named|Can't load the configuration|Invalid repository ID or local directory",
        "the model's folder lacks files: its source must be a whole model in Hugging Face layout, or a .gguf file",
    ),
    (
        r"Cannot find model module|does not recognize this architecture|Model architectures .* (are not supp|failed)",
        (
            "this engine does not know the model's architecture: use a model it lists as supported, or a newer engine "
            "by `environment:`"
        ),
    ),
    (
        r"(?:Unknown|Invalid) quantization method[^:]*: (?P<what>\w+)",
        "this engine does not know {what!r}: set options.quantization to one that its message lists, or leave it out",
    ),
    (
        r"Cannot find the config file for (?P<what>\w+)",
        "the model is not quantised with {what}: leave options.quantization out, or take a model that is",
    ),
    (
        r"unrecognized arguments: (?P<what>[^\n]+)",
        "this engine has no such flag: take {what} out of options.engine_args",
    ),
    (
        r"invalid choice: ['\"]?(?P<what>[\w.-]+)",
        "this engine does not know {what!r}: choose one of those its message lists",
    ),
    (
        r"no kernel image is available|CUDA driver version is insufficient|driver on your system is too old",
        "this GPU or its driver is too old for this build of torch: update the driver",
    ),
    (
        r"No CUDA GPUs are available|libcuda\.so",
        "the engine sees no GPU: check the driver on the node (nvidia-smi)",
    ),
)
"""What engines on PyTorch and Transformers have in common; the first one that fits counts."""


def explained_by(own: Sequence[Cause]) -> Callable[[str], str | None]:
    """An engine's `explain` that looks into its own causes first, then into `COMMON`."""

    def explain(log: str) -> str | None:
        for pattern, advice in (*own, *COMMON):
            if match := re.search(pattern, log):
                return advice.format(**match.groupdict())
        return None

    return explain
