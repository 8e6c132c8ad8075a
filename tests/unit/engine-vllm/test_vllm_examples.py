"""The example files are right, with this engine's own options."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from rayllm import Backend, Options
from rayllm.config import load
from rayllm.config.json_schema import json_schema
from rayllm.plugins import Plugins


def is_ours(file: Path) -> bool:
    """Whether all of it is this engine's, on a cluster whose backend takes no options."""
    told = yaml.safe_load(file.read_text())
    engines = {model["engine"] for model in told["models"].values()}
    return engines == {"vllm"} and told.get("cluster", {}).get("backend", "local") == "local"


EXAMPLES = [file for file in sorted((Path(__file__).parents[3] / "examples").glob("*.yaml")) if is_ours(file)]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_right(file: Path) -> None:
    """Every key and value, whether or not the local backend is installed beside it."""
    plugins = Plugins.discover()
    local = Backend(name="local", summary="", options=Options, open=lambda _: None)  # type: ignore[arg-type,return-value]
    plugins.backends.setdefault("local", local)
    assert load(file, plugins, {"RAYLLM_API_KEYS": "a-key-of-the-example"}).config.models
    written = yaml.safe_load(file.read_text())
    assert [error.json_path for error in Draft202012Validator(json_schema(plugins)).iter_errors(written)] == []
