"""What vLLM's options refuse, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rayllm_engine_vllm.options import VllmOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_modle_len": 1}, "Extra inputs are not permitted"),
        ({"max_model_len": "2048"}, "valid integer"),
        ({"max_model_len": 0}, "greater than or equal to 1"),
        ({"gpu_memory_utilization": 1.5}, "less than or equal to 1"),
        ({"trust_remote_code": "yes"}, "valid boolean"),
        ({"max_loras": 2}, "max_loras without adapters: enable_lora: true"),
        ({"max_loras": 20, "enable_lora": True}, "max_cpu_loras 16 is less than max_loras 20"),
        ({"max_lora_rank": 24, "enable_lora": True}, "Input should be 1, 8, 16"),
        ({"convert": "embed", "runner": "generate"}, "convert: embed needs runner: pooling"),
        ({"engine_args": [1]}, "valid dictionary"),
    ],
)
def test_refused(options: dict[str, Any], words: str) -> None:
    """Each mistake is told in words that lead to its cure."""
    with pytest.raises(ValidationError) as caught:
        VllmOptions.model_validate(options)
    assert words in str(caught.value)


def test_whole_numbers_where_fractions_are_allowed() -> None:
    """YAML's `4` is a fine number of GiB."""
    assert VllmOptions.model_validate({"kv_cache_gb": 4}).kv_cache_gb == 4.0


def test_every_option_is_described() -> None:
    """The docstrings reach the schema, where editors and error texts read them."""
    properties = VllmOptions.model_json_schema()["properties"]
    assert [name for name, facts in properties.items() if not facts.get("description")] == []


def test_no_default_runs_foreign_code() -> None:
    """Code that comes with a model runs only when a person says so."""
    assert VllmOptions().trust_remote_code is False
