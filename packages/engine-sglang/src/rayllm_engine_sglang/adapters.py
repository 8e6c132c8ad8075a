"""How SGLang takes LoRA adapters."""

from __future__ import annotations

from collections.abc import Collection

from rayllm import Adapters

_ENDPOINTS = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/messages/count_tokens"}
)
"""Where SGLang 0.5.23 goes by the adapter in `model`; /v1/responses, for one, takes the name and answers without it."""
_TOGETHER = {"q_proj": "v_proj", "k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}
"""Modules that SGLang has as parts of one: with the first alone, it fails when the adapter is loaded or first used."""


def refuse(changed: Collection[str], modules: Collection[str]) -> str | None:
    """Why SGLang can't take an adapter that changes these modules: some would stop the engine at the first request."""
    for module, other in _TOGETHER.items():
        if module in changed and other in modules and other not in changed:
            return f"it changes {module} without {other}, which SGLang computes together and takes together alone"
    return None


ADAPTERS = Adapters(
    load="/load_lora_adapter",
    unload="/unload_lora_adapter",
    room="max_loaded_loras",
    rank="max_lora_rank",
    # By its bare name an adapter is no name to SGLang, and it answers by the model.
    called="{model}:{adapter}",
    endpoints=_ENDPOINTS,
    refuse=refuse,
)
