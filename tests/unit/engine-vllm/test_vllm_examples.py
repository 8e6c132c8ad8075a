"""The example files are right, with this engine's own options."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayllm import Backend, Options
from rayllm.config import load
from rayllm.plugins import Plugins

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_right(file: Path) -> None:
    """Every key and value, whether or not the local backend is installed beside it."""
    plugins = Plugins.discover()
    local = Backend(name="local", summary="", options=Options, open=lambda _: None)  # type: ignore[arg-type,return-value]
    plugins.backends.setdefault("local", local)
    assert load(file, plugins, {}).config.models
