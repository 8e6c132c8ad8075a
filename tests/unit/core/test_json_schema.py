"""The JSON Schema of a file: what an editor marks, and what it lets pass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from rayllm import Backend, Options
from rayllm.config.building import read_document
from rayllm.config.json_schema import DIALECT, json_schema
from rayllm.plugins import Plugins

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker

ENVIRON = {"NAME": "demo", "TOKEN": "t"}
MODEL = "{engine: vllm, source: /m}"
RIGHT = [
    f"name: a\nmodels: {{m: {MODEL}}}",
    "name: a\nmodels: {m: {engine: sglang, source: 'package:a/b', environment: /opt/x, drain_s: 1, replicas: 3}}",
    "name: a\nmodels: {m: {engine: vllm, source: ~/m, replicas: {min: 0, max: 4}, resources: {memory: 4GiB}}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, options: {dtype: auto, stop: [a], draft: {tokens: 2}}}}",
    f"name: a\ncluster: {{backend: cai, options: {{nodes: 2, token: '${{env:TOKEN}}'}}}}\nmodels: {{m: {MODEL}}}",
    f"name: ${{env:NAME}}\nmodels: {{'7': {MODEL}}}\ngateway: {{host: localhost, port: 1}}",
]
WRONG = [
    f"models: {{m: {MODEL}}}",
    "name: a\nmodels: {}",
    f"name: A b\nmodels: {{m: {MODEL}}}",
    f"name: a\nmodel: {{m: {MODEL}}}",
    f"name: a\nmodels: {{rayllm: {MODEL}}}",
    f"name: a\nmodels: {{-x: {MODEL}}}",
    "name: a\nmodels: {m: {engine: vllm}}",
    "name: a\nmodels: {m: {engine: vlm, source: /m}}",
    "name: a\nmodels: {m: {engine: vllm, source: nope:m}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, environment: venv}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, replicas: 0}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, resources: {gpus: '1'}}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, options: {max_modle_len: 1}}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, options: {dtype: float16}}}",
    "name: a\nmodels: {m: {engine: vllm, source: /m, options: {draft: {nope: 2}}}}",
    f"name: a\ncluster: {{backend: cai}}\nmodels: {{m: {MODEL}}}",
    f"name: a\ncluster: {{options: {{nodes: 1}}}}\nmodels: {{m: {MODEL}}}",
    f"name: a\ncluster: {{backend: cai, options: {{nodes: '${{env:TOKEN}}'}}}}\nmodels: {{m: {MODEL}}}",
    f"name: a\nmodels: {{m: {MODEL}}}\ngateway: {{port: 70000}}",
]


def as_written(file: Path) -> Any:
    """The file's data with its `${env:…}` in place, as an editor reads it."""
    document = read_document(file, ENVIRON)
    for path, text in document.raw.items():
        block: Any = document.data
        for part in path[:-1]:
            block = block[part]
        block[path[-1]] = text
    return document.data


@pytest.mark.parametrize("content", RIGHT)
def test_what_is_right_passes(content: str, check: Checker) -> None:
    """Here as in `rayllm validate`."""
    check.right(content, ENVIRON)
    assert list(Draft202012Validator(json_schema(check.plugins)).iter_errors(as_written(Path("f")))) == []


@pytest.mark.parametrize("content", WRONG)
def test_what_is_wrong_does_not(content: str, check: Checker) -> None:
    """Here as in `rayllm validate`."""
    assert check.mistakes(content, ENVIRON)
    assert not Draft202012Validator(json_schema(check.plugins)).is_valid(as_written(Path("f")))


def test_it_is_a_schema_and_tells_what_keys_mean(plugins: Plugins) -> None:
    """Of the dialect it names, with the docstrings as descriptions and the plugins' summaries."""
    schema = json_schema(plugins)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT == Draft202012Validator.META_SCHEMA["$id"]
    model = schema["$defs"]["ModelConfig"]["properties"]
    assert model["drain_s"]["description"].startswith("Seconds that requests")
    assert [choice["const"] for choice in model["engine"]["anyOf"]] == ["sglang", "vllm"]


def test_a_plugin_whose_types_have_no_schema(check: Checker) -> None:
    """Its own block takes anything; the rest is checked as before."""

    class Odd(Options):
        call: type = int

    check.plugins.backends["odd"] = Backend(name="odd", summary="", options=Odd, open=lambda _: None)  # type: ignore[arg-type,return-value]
    validator = Draft202012Validator(json_schema(check.plugins))
    assert validator.is_valid(
        {
            "name": "a",
            "models": {"m": {"engine": "vllm", "source": "/m"}},
            "cluster": {"backend": "odd", "options": {"x": 1}},
        }
    )
    assert not validator.is_valid({"name": "a", "models": {}})
