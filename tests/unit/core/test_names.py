"""Nearest names."""

from __future__ import annotations

from rayllm.names import did_you_mean, nearest


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    """A slip or a capital does not matter; the valid spelling is what comes back."""
    assert nearest("VLM", ["sglang", "vllm"]) == "vllm"
    assert nearest("autoscale", ["AutoScale"]) == "AutoScale"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    """A wrong suggestion is worse than none."""
    assert nearest("transformers", ["vllm", "sglang"]) is None
    assert did_you_mean("x", []) == ""
    assert did_you_mean("vlm", ["vllm"]) == '; did you mean "vllm"?'
