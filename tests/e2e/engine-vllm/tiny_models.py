"""Models of a few thousand random weights, in Hugging Face layout. Run it with the Python of an engine's environment.

    python tiny_models.py FOLDER

Writes FOLDER/reranker (a BERT cross-encoder) and FOLDER/vision (Idefics3, as SmolVLM is). They answer nonsense, in the
right shape.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

WORDS = [
    "what",
    "is",
    "the",
    "capital",
    "of",
    "france",
    "paris",
    "city",
    "in",
    "berlin",
    "germany",
    "a",
    "describe",
    "this",
    "picture",
    "red",
    "green",
    "blue",
]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}: "
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)


def tokenizer(special: list[str], **names: str) -> Any:
    """Words of lower case, one token each; every other character is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers  # type: ignore[import-not-found]
    from transformers import PreTrainedTokenizerFast  # type: ignore[import-not-found]

    letters = [chr(code) for code in range(32, 127)]
    pieces = [*special, *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=special[0]))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token=special[0], additional_special_tokens=special, model_max_length=512, **names
    )


def reranker(folder: Path) -> None:
    """A cross-encoder: query and document go in together, one score comes out."""
    from tokenizers import processors
    from transformers import BertConfig, BertForSequenceClassification

    words = tokenizer(["[UNK]", "[PAD]", "[CLS]", "[SEP]"], pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, words.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")],
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        initializer_range=0.2,  # large: the scores differ
        num_labels=1,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    words.save_pretrained(folder)


def vision(folder: Path) -> None:
    """A language model with eyes: an image becomes 16 tokens."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import (  # type: ignore[import-not-found]
        Idefics3ImageProcessorPil,
    )

    names = ["<unk>", "<pad>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>"]
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    words = tokenizer(
        [*names, "<global-img>", *rows], pad_token="<pad>", bos_token="<|im_start|>", eos_token="<end_of_utterance>"
    )
    ids = {name: words.convert_tokens_to_ids(name) for name in names}
    config = Idefics3Config(
        image_token_id=ids["<image>"],
        scale_factor=2,
        pad_token_id=ids["<pad>"],
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "initializer_range": 0.2,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(words),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "initializer_range": 0.2,
            "max_position_embeddings": 512,
            "bos_token_id": ids["<|im_start|>"],
            "eos_token_id": ids["<end_of_utterance>"],
            "pad_token_id": ids["<pad>"],
        },
    )
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
    )
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    Idefics3Processor(images, words, image_seq_len=16, chat_template=CHAT).save_pretrained(folder)


def main(folder: Path) -> None:
    """Write both, the same on every run."""
    import torch  # type: ignore[import-not-found]  # noqa: TID251 - runs in the engine's environment

    torch.manual_seed(0)
    reranker(folder / "reranker")
    vision(folder / "vision")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
