"""What is said of a wrong `engine_args` block: the exact words, at their place in the file."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from tests.unit.core.conftest import Checker

from rayllm import Engine
from rayllm.arguments.check import complaints
from rayllm.config.engine_arguments import THIS_MACHINE

SOME = f"Some {version('packaging')}"
HEAD = "name: d\nmodels:\n  m:\n    engine: some\n    source: /m\n    options:\n      engine_args:\n"
"""Seven lines; the first flag stands on the eighth, in column nine."""
WRONG = {
    "unknown": ("max_tokns: 1", f'8:9  A.max_tokns: {SOME} has no such argument; did you mean "max-tokens"?'),
    "like none": ("zzz: 1", f"8:9  A.zzz: {SOME} has no such argument"),
    "no flag": ('"--": 1', "8:9  A.--: this is no flag"),
    "owned": ("port: 1", "8:9  A.port: can't be set here: RayLLM chooses the port"),
    "owned by its short name": ("-p: 1", "8:9  A.-p: can't be set here: RayLLM chooses the port"),
    "typed": ("--max_seqs: 1", "8:9  A.--max_seqs: can't be set here: write `max_seqs:` beside engine_args"),
    "short": ("gc: {}", "8:9  A.gc: a short form; write `graph-config`"),
    "int": ("block: x", '8:16  A.block: one of its choices expected, found text "x"   choices: 8, 16'),
    "size": ("max-tokens: 1.5", "8:21  A.max-tokens: a whole number, or one like 8k expected, found 1.5"),
    "size as text": (
        "max-tokens: 8q",
        '8:21  A.max-tokens: a whole number, or one like 8k expected, found text "8q"',
    ),
    "float": ("share: 'x'", '8:16  A.share: a number expected, found text "x"'),
    "text": ("load-format: true", "8:22  A.load-format: text expected, found true"),
    "nothing": ("load-format:", "8:21  A.load-format: text expected, found nothing"),
    "any": ("odd: {}", "8:14  A.odd: a value expected, found a mapping"),
    "choice": (
        "backend: flsh",
        (
            '8:18  A.backend: one of its choices expected, found text "flsh"; did you mean "flash"?'
            "   choices: flash, plain"
        ),
    ),
    "switch": ("eager: 1", "8:16  A.eager: true or false expected, found 1"),
    "only on": (
        "quiet: false",
        "8:16  A.quiet: it can only be switched on; leave it out, or write true, found false",
    ),
    "off twice": ("no-eager: false", "8:9  A.no-eager: turned off twice; write `eager: true`"),
    "one value": ("share: [1, 2]", "8:16  A.share: one value expected, found a list"),
    "an item": ("sizes: [1, x]", '8:20  A.sizes[1]: a whole number expected, found text "x"'),
    "empty list": ("sizes: []", "8:9  A.sizes: at least one value expected, found an empty list"),
    "wrong number": ("span: [1]", "8:9  A.span: a list of 2 expected, found one of 1"),
    "no list": ("span: 1", "8:15  A.span: a list of 2 expected, found 1"),
    "not JSON": (
        "graph-config: '{a'",
        (
            "8:23  A.graph-config: not JSON (Expecting property name enclosed in double quotes: line 1 column 2"
            ' (char 1)); write it as a mapping, found text "{a"'
        ),
    ),
    "number for JSON": ("graph-config: 3", "8:23  A.graph-config: a mapping, or JSON as text, expected, found 3"),
    "keys of no JSON": ("share.x: 3", f"8:9  A.share.x: share of {SOME} takes no keys of its own"),
    "two spellings": (
        "max_tokens: 1\n        max-tokens: 2",
        "9:9  A.max-tokens: sets the same as max_tokens, which stands here too",
    ),
    "two names": (
        "enable-cache: true\n        disable-cache: true",
        "9:9  A.disable-cache: sets the same as enable-cache, which stands here too",
    ),
    "whole and part": (
        "graph-config: {}\n        graph_config.mode: 3",
        "9:9  A.graph_config.mode: sets the same as graph-config, which stands here too",
    ),
    "part and whole": (
        "graph-config.mode: 3\n        graph_config: {}",
        "9:9  A.graph_config: sets the same as graph-config.mode, which stands here too",
    ),
}
RIGHT: list[dict[str, Any]] = [
    {"max_tokens": 1, "share": 1, "load-format": "x", "backend": "plain", "block": 8, "eager": False, "quiet": True},
    {"max-tokens": "2.5k", "load_format": 3, "disable-stats": True, "no-enable-cache": True, "sizes": 1, "trace": True},
    {"sizes": [1, 2], "span": [1, 2], "plugin": ["a", "b"], "trace": "x", "odd": "x", "overrides": {"a": 1}},
    {"graph-config.a.b": 1, "graph-config.a.c": {"d": [1]}, "overrides": "x"},
    {"graph-config": {"a": 1}, "plugin": "a"},
    {"graph-config": '{"a": 1}'},
]


@pytest.fixture
def file(check: Checker, some: Engine[Any]) -> Checker:
    """Checks files beside the invented engine."""
    check.plugins.engines["some"] = some
    return check


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake(file: Checker, case: str) -> None:
    """At the key, or at the value where that is wrong."""
    block, expected = WRONG[case]
    place = "models.m.options.engine_args"
    assert file.mistakes(f"{HEAD}        {block}\n") == [f"f:{expected.replace('A.', f'{place}.', 1)}"]


def test_all_mistakes_at_once(file: Checker) -> None:
    """Beside those of the rest of the file, also where another option is wrong."""
    found = file.mistakes(f"{HEAD}        a: 1\n        port: 2\n      other: 3\n")
    assert len(found) == 3
    assert [line.partition("  ")[0] for line in found] == ["f:8:9", "f:9:9", "f:10:7"]


@pytest.mark.parametrize("number", range(len(RIGHT)))
def test_nothing_wrong(some: Engine[Any], known: Any, number: int) -> None:
    """Every sort of value where it belongs."""
    assert some.arguments is not None
    assert complaints(some.arguments, known, RIGHT[number]) == []


def test_the_value_of_a_variable_is_not_shown(file: Checker) -> None:
    """It may be a secret, however wrong it is here."""
    secret = "hunter2" * 12
    content = f"{HEAD}        share: ${{env:TOKEN}}\n        backend: ${{env:TOKEN}}\n"
    found = file.mistakes(content, {"TOKEN": secret})
    assert "hunter" not in "\n".join(found)
    assert any("a number expected, found" in line for line in found)


def test_an_environment_elsewhere_is_left_to_the_node(file: Checker) -> None:
    """Nobody here knows its flags; those that RayLLM sets are refused all the same."""
    content = HEAD.replace("source:", "environment: /opt/some\n    source:")
    assert file.right(f"{content}        newer: 1\n")
    assert file.mistakes(f"{content}        port: 1\n") == [
        "f:9:9  models.m.options.engine_args.port: can't be set here: RayLLM chooses the port"
    ]


def test_a_device_that_the_engine_lacks(file: Checker) -> None:
    """Said once, about the device."""
    content = HEAD.replace("source:", "resources: {gpus: 1}\n    source:")
    found, _ = file.mistakes(f"{content}        anything: 1\n")
    assert 'engine "some" does not run on cuda' in found


def test_the_capability_is_the_one_that_backends_name() -> None:
    """`docs/plugins.md` tells plugin authors of it."""
    assert THIS_MACHINE == "this-machine"
