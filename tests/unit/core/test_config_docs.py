"""The page about the configuration file says what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.unit.core.conftest import EngineOptions

from rayllm import Adapters
from rayllm.config import ConfigErrors
from rayllm.config.schema import DeploymentConfig, ModelConfig

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker

    from rayllm.plugins import Plugins

PAGE = (Path(__file__).parents[3] / "docs/configuration.md").read_text()


class LoraOptions(EngineOptions):
    """Of an engine that takes adapters, as the page's does."""

    enable_lora: bool = False
    max_loras: int = 4
    max_lora_rank: int = 16


@pytest.fixture
def plugins(plugins: Plugins) -> Plugins:
    """With an engine that takes adapters."""
    how = Adapters(load="/load", unload="/unload", room="max_loras", rank="max_lora_rank")
    vllm = plugins.engines["vllm"]
    plugins.engines["vllm"] = replace(vllm, options=LoraOptions, adapters=how, capabilities={"gguf", "lora"})
    return plugins


def test_the_pages_example_is_right(check: Checker) -> None:
    """As it stands, beside the plugins that it names."""
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    config = check.right(example, {"HF_TOKEN": "a-token"}).config
    assert set(config.model_fields_set) == set(DeploymentConfig.model_fields)
    told = [model.model_fields_set for model in config.models.values()]  # image and version exclude each other
    assert set().union(*told) == set(ModelConfig.model_fields)


def test_the_pages_mistakes_are_what_is_printed(check: Checker) -> None:
    """Word for word, and as JSON."""
    console = re.findall(r"\$ rayllm validate\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()
    content = "name: demo\ncluster:\n  backend: local\n\nmodels:\n  smollm2:\n    engine: vlm\n"
    content += "    replicas: {min: 3, max: 2}\n    source: /m\ngateway: {host: 0.0.0.0}\n"
    with pytest.raises(ConfigErrors) as caught:
        check.right(content)
    file = re.compile(r"^f:(\d+:\d+)")
    printed = [file.sub(r"rayllm.yaml:\1", line).strip() for line in str(caught.value).splitlines()]
    assert printed == [line.strip() for line in console]
    told = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    assert asdict(caught.value.problems[0]) == told["problems"][0]
