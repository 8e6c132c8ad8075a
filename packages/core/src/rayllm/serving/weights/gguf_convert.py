"""Turn a GGUF file into a folder in Hugging Face layout: a script, run with the Python of an engine's environment.

    python gguf_convert.py FILE.gguf FOLDER

Weights become bfloat16; the tokenizer brings the chat template. Prints one line for each step.
"""

from __future__ import annotations

import sys
from pathlib import Path


def convert(source: Path, target: Path) -> None:
    """Write the model and its tokenizer to the folder `target`."""
    import torch  # type: ignore[import-not-found]  # noqa: TID251 - runs in the engine's environment
    from transformers import (  # type: ignore[import-not-found]
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
    )

    where = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    _say("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(**where)
    _say("reading the weights")
    plain = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=plain, dtype=torch.bfloat16)
    _say("writing the weights")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what the parent reads


if __name__ == "__main__":
    # The folder of this script: its modules would hide installed ones of the same name.
    del sys.path[0]
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
