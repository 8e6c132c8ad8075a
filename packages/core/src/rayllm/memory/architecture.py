"""What a model's config.json tells of its layers, as far as memory and parallel shapes depend on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TEXT_PARTS = ("text_config", "llm_config", "language_config")
"""Where models that also see or hear keep what is asked for here."""
_ENCODERS = frozenset(
    {"bert", "roberta", "xlm-roberta", "modernbert", "nomic_bert", "distilbert", "deberta-v2", "mpnet"}
)
"""Model types that read a text at once, and keep nothing of it."""
_HYBRID = (
    *(
        "layers_block_type",
        "hybrid_override_pattern",
        "attn_layer_period",
        "attn_layer_indices",
        "full_attention_interval",
    ),
    *("mamba_d_state", "ssm_state_size", "mamba_d_ssm", "state_size"),
)
"""Keys of models that mix attention with other layers; which is which is told in ways of their own."""
_ATTENTION = "full_attention"
_WINDOWS = frozenset({"sliding_attention", "chunked_attention"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The numbers of one model."""

    layers: int
    heads: int
    """Attention heads of each layer."""
    kv_heads: int
    """Heads of keys and values of each layer."""
    head_dim: int
    dtype: str = ""
    """Type that the model was made in: `bfloat16`."""
    length: int | None = None
    """Tokens that the model was made for."""
    latent: int = 0
    """Elements that each token keeps in a layer of multi-head latent attention; 0 for the usual attention."""
    caching: Mapping[int | None, int] = field(default_factory=dict)
    """How many layers keep keys and values of so many tokens at most; None for those that keep all."""
    unknown: str = ""
    """Why it can't be told what the KV cache takes; empty where it can."""
    quantized: str = ""
    """How the weights in the files are quantised, if they are."""


def architecture(config: Mapping[str, Any]) -> Architecture | None:
    """What a `config.json` says; None where it lacks the usual numbers."""
    text = next((config[part] for part in _TEXT_PARTS if isinstance(config.get(part), dict)), config)

    def number(*names: str) -> int:
        found = (place.get(name) for name in names for place in (text, config))
        return next((value for value in found if type(value) is int and value > 0), 0)

    layers, heads = number("num_hidden_layers", "n_layer", "num_layers"), number("num_attention_heads", "n_head")
    head_dim = number("head_dim") or number("hidden_size", "n_embd", "d_model") // max(1, heads)
    if not (layers and heads and head_dim):
        return None
    quantization = config.get("quantization_config") or text.get("quantization_config") or {}
    lora_rank = number("kv_lora_rank")
    caching, unknown = _caching(text, layers, number("sliding_window", "attention_chunk_size"))
    return Architecture(
        layers=layers,
        heads=heads,
        kv_heads=number("num_key_value_heads", "num_kv_heads", "n_head_kv") or heads,
        head_dim=head_dim,
        dtype=str(
            text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype") or ""
        ),
        length=number("max_position_embeddings", "n_positions", "max_seq_len", "seq_length") or None,
        latent=lora_rank + number("qk_rope_head_dim") if lora_rank else 0,
        caching=caching,
        unknown=unknown,
        quantized=str(quantization.get("quant_method") or ""),
    )


def _caching(text: Mapping[str, Any], layers: int, window: int) -> tuple[dict[int | None, int], str]:
    """Layers by the tokens that they keep, and why that is not known."""
    if text.get("model_type") in _ENCODERS:
        return {}, ""
    kinds = text.get("layer_types")
    if not isinstance(kinds, list):
        mixed = [key for key in _HYBRID if key in text]
        return ({}, f"{mixed[0]} says that not all layers are attention") if mixed else ({None: layers}, "")
    counts = Counter(map(str, kinds))
    full, short = counts[_ATTENTION], sum(counts[kind] for kind in _WINDOWS)
    if full + short < sum(counts.values()):
        others = sorted(counts.keys() - _WINDOWS - {_ATTENTION})
        return {}, f"what layers of {', '.join(others)} keep is not known"
    kept: dict[int | None, int] = {None: full + (0 if window else short)}
    return ({**kept, window: short} if window and short else kept), ""
