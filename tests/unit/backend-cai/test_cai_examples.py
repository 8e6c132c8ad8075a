"""The example file is right, with this backend's own options."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ConfigDict

from rayllm import Command, Engine, Environment, Options
from rayllm.config import load
from rayllm.config.json_schema import json_schema
from rayllm.plugins import Plugins

EXAMPLES = [
    file
    for file in sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
    if yaml.safe_load(file.read_text()).get("cluster", {}).get("backend") == "cai"
]


class AnyOptions(Options):
    """Whatever an engine may take."""

    model_config = ConfigDict(extra="allow")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_right(file: Path) -> None:
    """Every key and value of the cluster's; its engine stands for the one that may not be installed beside it."""
    plugins = Plugins.discover()
    for model in yaml.safe_load(file.read_text())["models"].values():
        plugins.engines[model["engine"]] = Engine(
            name=model["engine"],
            summary="",
            options=AnyOptions,
            environment=Environment(()),
            commands=lambda _: [Command()],
            capabilities={"gguf"},
        )
    checked = load(file, plugins, {"RAYLLM_API_KEYS": "a-key-of-the-example"})
    assert (checked.backend.name, checked.unused) == ("cai", [])
    written = yaml.safe_load(file.read_text())
    assert [error.json_path for error in Draft202012Validator(json_schema(plugins)).iter_errors(written)] == []


def test_there_is_one() -> None:
    """Else nothing would be looked at."""
    assert [file.name for file in EXAMPLES] == ["cai.yaml"]
