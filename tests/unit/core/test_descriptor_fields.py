"""A descriptor with a wrong value is a broken plugin at once, named by its field: no error amid `up`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from rayllm import Backend, Engine, Environment, ModelSource, Options
from rayllm.descriptor_fields import RULES, wrong_fields

RIGHT: dict[str, Any] = {
    "engine": Engine(
        name="x", summary="", options=Options, environment=Environment(()), commands=lambda _: [], capabilities={"chat"}
    ),
    "backend": Backend(name="x", summary="", options=Options, open=lambda _: None),  # type: ignore[arg-type,return-value]
    "source": ModelSource(scheme="x", summary="", check=lambda _: None, fetch=lambda *_: Path()),
}
CAPABILITIES = "is neither a set, list or tuple of texts nor a mapping of devices to them"
WRONG = [
    ("engine", "summary", None, "is no text"),
    ("engine", "options", dict, "is not a subclass of rayllm.Options"),
    ("engine", "options", dict[str, int], "is not a subclass of rayllm.Options"),
    ("engine", "options", Options(), "is not a subclass of rayllm.Options"),
    ("engine", "environment", ["x"], "is neither an Environment nor a mapping of them"),
    ("engine", "environment", {"cpu": ["x"]}, "is neither an Environment nor a mapping of them"),
    ("engine", "commands", [], "is not a function"),
    ("engine", "capabilities", "chat", CAPABILITIES),
    ("engine", "capabilities", {"chat": True}.values(), CAPABILITIES),
    ("engine", "capabilities", {"cpu": "chat"}, CAPABILITIES),
    ("engine", "endpoints", (path for path in ("/x",)), "is not a set, list or tuple of texts"),
    ("engine", "gauges", {"running": "x"}, "is neither None nor of Gauges"),
    ("engine", "explain", "restart it", "is neither None nor a function"),
    ("engine", "arguments", {}, "is neither None nor of EngineArguments"),
    ("engine", "shape", 2, "is neither None nor a function"),
    ("engine", "memory", 2, "is neither None nor a function"),
    ("engine", "extras", {"load_format": ["streamer==1"]}, "is not a mapping of options to what their values need"),
    ("engine", "adapters", "/load", "is neither None nor of Adapters"),
    ("engine", "check", [], "is neither None nor a function"),
    ("backend", "summary", 1, "is no text"),
    ("backend", "options", None, "is not a subclass of rayllm.Options"),
    ("backend", "open", None, "is not a function"),
    ("backend", "capabilities", "create", "is not a set, list or tuple of texts"),
    ("backend", "check", "no", "is neither None nor a function"),
    ("backend", "endpoint", "https://x", "is neither None nor a function"),
    ("backend", "refuse", "no", "is neither None nor a function"),
    ("source", "summary", None, "is no text"),
    ("source", "check", None, "is not a function"),
    ("source", "fetch", "web", "is not a function"),
    ("source", "look", "web", "is neither None nor a function"),
]


@pytest.mark.parametrize("kind", RIGHT)
def test_nothing_is_wrong_with_what_is_right(kind: str) -> None:
    """Optional fields that are left out included."""
    assert list(wrong_fields(RIGHT[kind], "x")) == []


@pytest.mark.parametrize(("kind", "field", "value", "words"), WRONG)
def test_a_wrong_value_is_told_by_its_field(kind: str, field: str, value: Any, words: str) -> None:
    """And it alone."""
    item = replace(RIGHT[kind], **{field: value})
    assert list(wrong_fields(item, "x")) == [f'{type(item).__name__}.{field} of "x" {words}']


@pytest.mark.parametrize("field", ["requires", "imports"])
def test_one_text_where_an_environment_wants_several(field: str) -> None:
    """`Environment("vllm==1")` would ask pip for `v`, `l`, `l` and `m`."""
    given_texts: dict[str, Any] = {"requires": (), field: "vllm==1"}
    environment = Environment(**given_texts)
    for given in (environment, {"cpu": environment}):
        item = replace(RIGHT["engine"], environment=given)
        assert list(wrong_fields(item, "x")) == [f'Environment.{field} of "x" is not a set, list or tuple of texts']


@pytest.mark.parametrize("files", [{"/etc/passwd": ""}, {"../a.py": ""}, {"": ""}, {"a.py": b""}, ["a.py"]])
def test_files_that_would_lie_elsewhere(files: Any) -> None:
    """Nothing is written outside of an environment."""
    item = replace(RIGHT["engine"], environment=Environment((), files=files))
    words = "is not a mapping of paths below site-packages to texts"
    assert list(wrong_fields(item, "x")) == [f'Environment.files of "x" {words}']


def test_every_field_has_a_rule() -> None:
    """A new one can't be forgotten; every rule is tried above, but for names, which discovery checks."""
    for descriptor, rules in RULES.items():
        assert list(rules) == [field.name for field in fields(descriptor)]
    tried = {(type(RIGHT[kind]), field) for kind, field, _, _ in WRONG}
    assert {(kind, name) for kind, rules in RULES.items() for name in rules} - tried == {
        (Engine, "name"),
        (Backend, "name"),
        (ModelSource, "scheme"),
    }
