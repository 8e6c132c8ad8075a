"""How vLLM splits a replica. Pure."""

from __future__ import annotations

from rayllm import Shape
from rayllm_engine_vllm.options import VllmOptions


def shape(options: VllmOptions, gpus: int) -> Shape:
    """The options' sizes, tensor parallel filling what they leave of the GPUs.

    Raises:
        InputError: they don't come to the number of GPUs.
    """
    return Shape.of(
        gpus,
        tensor=options.tensor_parallel_size,
        pipeline=options.pipeline_parallel_size,
        data=options.data_parallel_size,
        expert=options.enable_expert_parallel,
    )
