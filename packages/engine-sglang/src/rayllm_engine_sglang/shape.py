"""How SGLang splits a replica. Pure."""

from __future__ import annotations

from rayllm import InputError, Shape
from rayllm_engine_sglang.options import SglangOptions


def shape(options: SglangOptions, gpus: int) -> Shape:
    """The options' sizes, tensor parallel filling what they leave of the GPUs.

    Raises:
        InputError: they don't come to the number of GPUs, or groups don't divide the tensor parallel size.
    """
    found = Shape.of(
        gpus, tensor=options.tp_size, pipeline=options.pp_size, data=options.dp_size, expert=options.ep_size > 1
    )
    for name, size in {"attn_dp_size": options.attn_dp_size, "ep_size": options.ep_size}.items():
        if found.tensor % size:
            raise InputError(
                f"{name} {size} does not divide the tensor parallel size {found.tensor}",
                cure=f"set {name} to a divisor of {found.tensor}, or another tp_size",
            )
    return found
