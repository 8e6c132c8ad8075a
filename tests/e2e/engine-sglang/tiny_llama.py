"""A Llama of a few thousand random weights, with four heads that two parts can share. An engine's own Python runs it.

    python tiny_llama.py FOLDER

It talks nonsense, always the same for the same beginning.
"""

from __future__ import annotations

import sys
from pathlib import Path

WORDS = [*"abcdefghijklmnopqrstuvwxyz", *(first + second for first in "bdfkmnst" for second in "aeiou")]


def main(folder: Path) -> None:
    """Write model and tokenizer, the same on every run."""
    import torch  # type: ignore[import-not-found]  # noqa: TID251 - runs in the engine's environment
    from tokenizers import Tokenizer, models, pre_tokenizers  # type: ignore[import-not-found]
    from transformers import (  # type: ignore[import-not-found]
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    pieces = {piece: number for number, piece in enumerate(["<unk>", "<end>", *WORDS])}
    words = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,  # large: the likeliest token stands out
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
