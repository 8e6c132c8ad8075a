"""What `adapters:` of a model may say: names, sources, how many, and an engine that takes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import Field
from tests.unit.core.conftest import Checker

from rayllm import Adapters, Command, Options
from rayllm.deployment.adapter_settings import routed, wanted_settings
from rayllm.plugins import Plugins

COMMAND = Command("server")
HEAD = "name: demo\nmodels:\n"


class LoraOptions(Options):
    """Of an engine that takes adapters."""

    enable_lora: bool = False
    max_loras: int = Field(default=2, ge=1)
    max_lora_rank: int = 16


@pytest.fixture
def plugins(plugins: Plugins) -> Plugins:
    """One engine takes adapters, the other does not."""
    how = Adapters(
        load="/load",
        unload="/unload",
        room="max_loras",
        rank="max_lora_rank",
        called="{model}:{adapter}",
        endpoints=["/x"],
    )
    plugins.engines["vllm"] = replace(
        plugins.engines["vllm"],
        options=LoraOptions,
        adapters=how,
        capabilities={"lora", "multi-node"},
        commands=lambda launch: [COMMAND] * launch.nodes,
    )
    return plugins


def mistakes(check: Checker, models: str, more: str = "") -> list[str]:
    """What is said of a file with these models."""
    return [line.lstrip() for line in check.mistakes(f"{HEAD}{models}{more}")]


def test_they_switch_the_option_on(check: Checker) -> None:
    """So that what depends on it may be written beside it, and the replicas know."""
    model = "{engine: vllm, source: file:/m, options: {max_loras: 3}, adapters: {sql: file:/sql}}"
    checked = check.right(f"{HEAD}  m: {model}\n  n: {{engine: vllm, source: file:/m}}\n")
    assert checked.config.models["m"].options == {"max_loras": 3, "enable_lora": True}
    assert (list(checked.adapters), checked.config.models["n"].options) == (["m"], {})
    wanted = wanted_settings(checked, {})
    assert wanted["m"].to_user_config() == {"adapters": {"sql": "file:/sql"}, "added": []}
    told = routed(checked.adapters["m"], "m", wanted["m"])
    assert told == {"adapters": {"sql": "m:sql"}, "adapter_endpoints": ["/x"]}


def test_one_that_takes_some_later(check: Checker) -> None:
    """`enable_lora: true` is enough."""
    checked = check.right(f"{HEAD}  m: {{engine: vllm, source: file:/m, options: {{enable_lora: true}}}}\n")
    assert wanted_settings(checked, {})["m"].to_user_config() == {"adapters": {}, "added": []}


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (
            "  m: {engine: sglang, source: file:/m, adapters: {a: file:/a}}\n",
            'f:3:50  models.m.adapters: engine "sglang" can\'t do "lora" on cpu   installed engines that can: vllm',
        ),
        (
            "  m: {engine: vllm, source: file:/m, resources: {nodes: 2}, adapters: {a: file:/a}}\n",
            "f:3:71  models.m.adapters: a replica on 2 nodes takes no adapters",
        ),
        (
            "  m: {engine: vllm, source: file:/m, adapters: {a: nope:/a}}\n",
            'f:3:52  models.m.adapters.a: no model source "nope"   schemes: file, package',
        ),
        (
            "  m: {engine: vllm, source: file:/m, adapters: {a: file:a}}\n",
            "f:3:52  models.m.adapters.a: file:a has no path",
        ),
        (
            "  m: {engine: vllm, source: file:/m, adapters: {m: file:/a}}\n",
            'f:3:49  models.m.adapters.m: "m" is a model already',
        ),
        (
            "  m: {engine: vllm, source: file:/m, adapters: {gateway: file:/a}}\n",
            'f:3:49  models.m.adapters.gateway: "gateway" names the gateway',
        ),
        (
            "  m: {engine: vllm, source: file:/m, adapters: {a: file:/a, b: file:/b, c: file:/c}}\n",
            "f:3:48  models.m.adapters: 3 adapters, and a replica holds 2 at most",
        ),
        (
            "  m: {engine: vllm, source: file:/m, options: {enable_lora: false}, adapters: {a: file:/a}}\n",
            "f:3:61  models.m.options.enable_lora: false, and the model has adapters",
        ),
    ],
)
def test_what_is_wrong(check: Checker, models: str, said: str) -> None:
    """Each at its place, with what to do."""
    assert mistakes(check, models)[0] == said


def test_a_name_is_one_thing(check: Checker) -> None:
    """Of two adapters with one name both are told; a model's and an alias's are taken, too."""
    model = "{engine: vllm, source: file:/m, adapters: {a: file:/a}}"
    said = mistakes(check, f"  m: {model}\n  n: {model}\n")
    assert [line for line in said if line.startswith("f:")] == [
        'f:3:49  models.m.adapters.a: "a" is an adapter of n already',
        'f:4:49  models.n.adapters.a: "a" is an adapter of m already',
    ]


def test_an_alias_has_its_name(check: Checker) -> None:
    """As a model has."""
    model = "{engine: vllm, source: file:/m, adapters: {a: file:/a}}"
    said = mistakes(check, f"  m: {model}\n", "gateway: {aliases: {a: m}}\n")
    assert said[0] == 'f:3:49  models.m.adapters.a: "a" is an alias already'


def test_a_name_that_is_none(check: Checker) -> None:
    """The same as of a model."""
    (said,) = mistakes(check, "  m: {engine: vllm, source: file:/m, adapters: {a/b: file:/a}}\n")
    assert 'models.m.adapters.a/b: "a/b" is not a name' in said
