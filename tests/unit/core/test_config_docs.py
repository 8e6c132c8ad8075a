"""The page about the configuration file says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rayllm.config import ConfigErrors
from rayllm.config.schema import (
    ClusterConfig,
    DeploymentConfig,
    GatewayConfig,
    ModelConfig,
    ReplicaRange,
    Resources,
    Strict,
)

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker

PAGE = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
SECTIONS: dict[str, type[Strict]] = {
    "## The file": DeploymentConfig,
    "## `cluster`": ClusterConfig,
    "## `models.NAME`": ModelConfig,
    "### `replicas`, as a range": ReplicaRange,
    "### `resources`": Resources,
    "## `gateway`": GatewayConfig,
}


def section(title: str) -> str:
    """What stands between a title and the next."""
    return PAGE.split(f"\n{title}\n")[1].split("\n#")[0]


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_on_the_page_with_its_default(title: str) -> None:
    """No more and no fewer, in the order of the code."""
    model = SECTIONS[title]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", section(title), re.MULTILINE)
    assert [name for name, _ in rows] == list(model.model_fields)
    for name, default in rows:
        field = model.model_fields[name]
        assert (default == "required") == field.is_required(), name
        if isinstance(field.default, str | int | float):
            assert default == f"`{field.default}`"


def test_the_pages_example_is_right(check: Checker) -> None:
    """As it stands, beside the plugins that it names."""
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    config = check.right(example).config
    assert set(config.model_fields_set) == set(DeploymentConfig.model_fields)
    assert set(config.models["smollm2"].model_fields_set) == set(ModelConfig.model_fields)


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
    assert caught.value.as_json()[0] == told["problems"][0]
