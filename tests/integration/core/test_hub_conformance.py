"""The source `hf:` keeps the kit's rules, with the real huggingface_hub against a hub of our own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayllm.testing import SourceConformance
from rayllm.testing.fake_hub import FakeHub, FakeRepo

FILES = {
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": random.Random(1).randbytes(200_000),  # noqa: S311 - no secret
    "m-Q4.gguf": random.Random(2).randbytes(50_000),  # noqa: S311
}


class TestHub(SourceConformance):
    """`hf:`."""

    scheme = "hf"
    good = ("hf://org/model", "hf://org/model@main/m-Q4.gguf")
    bad = ("hf:org/model", "hf://model", "hf://org/a--b", "hf://org/model/model.safetensors")
    missing = ("hf://org/nothing", "hf://org/model@no-such-branch", "hf://org/model/other.gguf", "hf://org/gated")
    secrets = ("HF_TOKEN",)

    @pytest.fixture
    def serving(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """The hub that HF_ENDPOINT names."""
        for name in [name for name in os.environ if name.startswith("HF_")]:
            monkeypatch.delenv(name)
        gated = FakeRepo(FILES, gated=True, readers=frozenset({"hf_somebody"}))
        with FakeHub({"org/model": FakeRepo(FILES), "org/gated": gated}) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.url)
            monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
            yield
