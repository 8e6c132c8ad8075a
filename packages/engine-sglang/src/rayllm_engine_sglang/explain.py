"""The ways in which SGLang in particular fails to start, and what to do about each; core knows those of all engines."""

from __future__ import annotations

from rayllm import explained_by

_CAUSES = (
    (
        r"Not enough memory\. Please try to increase --mem-fraction-static",
        (
            "the memory does not hold weights and KV cache: set options.mem_fraction_static higher, "
            "options.max_total_tokens or options.context_length lower, or take more GPUs (resources.gpus)"
        ),
    ),
    (
        r"context_length \(\d+\) is greater than the derived context_length \((?P<what>\d+)\)",
        "options.context_length is longer than the model can do: set it to {what} at most, or leave it out",
    ),
    (
        r"NotImplementedError: (?P<what>\w+) of sgl_kernel has no build for CPUs",
        "a feature needs {what}, one of SGLang's kernels that have no build for CPUs: take it out of the options",
    ),
    (
        r"Couldn't instantiate the backend tokenizer",
        (
            "the model's folder lacks its tokenizer: put tokenizer.json and tokenizer_config.json there, or name "
            "another folder that has it: options.engine_args: {{tokenizer-path: /PATH}}"
        ),
    ),
    (
        r"Quantization method specified in the model config \((?P<what>\w+)\) does not match",
        "the model is quantised with {what} already: leave options.quantization out",
    ),
    (
        r"Chat template (?P<what>\S+) is not a built-in template name",
        "SGLang has no chat template {what!r}, and the node no such file: correct options.chat_template",
    ),
    (
        r"No accelerator \(CUDA|No supported accelerator",
        "SGLang sees no GPU: check the driver on the node (nvidia-smi)",
    ),
)

explain = explained_by(_CAUSES)
"""What to do about the last lines of SGLang's log; None where nothing is known."""
