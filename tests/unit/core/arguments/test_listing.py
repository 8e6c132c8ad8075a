"""What the script finds out about a parser, and how values become words for it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from rayllm import Device, EngineArguments
from rayllm.arguments.listing import ArgumentList, flag_of, read_list

CPU = Device(kind="cpu")


@pytest.mark.parametrize(
    ("flag", "facts"),
    [
        ("max-seqs", {"names": ("--max-seqs", "-ms"), "type": "int"}),
        ("max-tokens", {"type": "size"}),
        ("share", {"type": "float"}),
        ("load-format", {"names": ("--load_format",), "type": "text"}),
        ("backend", {"type": "text", "choices": ("flash", "plain")}),
        ("block", {"type": "int", "choices": (8, 16)}),
        ("eager", {"names": ("--eager",), "off": ("--no-eager",), "type": "switch"}),
        ("disable-cache", {"names": ("--enable-cache",), "off": ("--no-enable-cache", "--disable-cache")}),
        ("quiet", {"type": "switch", "off": ()}),
        ("disable-stats", {"names": ("--disable-stats",), "type": "switch", "off": ()}),
        ("sizes", {"type": "int", "nargs": "+"}),
        ("span", {"nargs": 2}),
        ("trace", {"nargs": "?"}),
        ("plugin", {"repeated": True}),
        ("graph-config", {"type": "json"}),
        ("overrides", {"type": "text or json"}),
        ("odd", {"type": "any"}),
    ],
)
def test_what_the_script_finds(known: ArgumentList, flag: str, facts: dict[str, Any]) -> None:
    """Names, off forms, types from the converters, choices, number of values."""
    argument = known.long(flag)
    assert argument is not None
    assert {name: getattr(argument, name) for name in facts} == facts


def test_what_is_left_out(known: ArgumentList) -> None:
    """Positional arguments and `--help`; package and version are named."""
    assert known.long("model") is None
    assert known.long("help") is None
    assert (known.package, known.version) == ("packaging", version("packaging"))


def test_the_file_is_in_order_and_without_defaults(listed: Path) -> None:
    """One line each, so that a change of version is read as a difference of lines."""
    data = json.loads(listed.read_text())
    names = [item["names"][0] for item in data["arguments"]]
    assert names == sorted(names)
    assert len(listed.read_text().splitlines()) == len(names) + 2
    assert "default" not in listed.read_text()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"package": "a", "version": "1", "arguments": [{"flag": 1}]}'])
def test_a_file_that_is_no_list(tmp_path: Path, text: str) -> None:
    """A half-written file is told from a list."""
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever json says
        read_list(tmp_path / "broken.json")


def test_spellings_of_a_key() -> None:
    """With dashes, underscores, or as on a command line; what follows a dot stays."""
    assert {flag_of(key) for key in ("--max_seqs", "max-seqs", "max_seqs", " max-seqs ")} == {"max-seqs"}
    assert flag_of("graph_config.cache_dir") == "graph-config.cache_dir"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_tokens": 4096}, ["--max-tokens=4096"]),
        ({"max-tokens": "8k"}, ["--max-tokens=8k"]),
        ({"share": -1}, ["--share=-1"]),
        ({"eager": True}, ["--eager"]),
        ({"eager": False}, ["--no-eager"]),
        ({"enable-cache": False}, ["--no-enable-cache"]),
        ({"disable-cache": True}, ["--disable-cache"]),
        ({"trace": True}, ["--trace"]),
        ({"sizes": [1, 2]}, ["--sizes", "1", "2"]),
        ({"plugin": ["a", "b"]}, ["--plugin=a", "--plugin=b"]),
        ({"graph-config": {"mode": 3}}, ['--graph-config={"mode": 3}']),
        ({"graph-config": ["a"]}, ['--graph-config=["a"]']),
        ({"graph-config": '{"mode": 3}'}, ['--graph-config={"mode": 3}']),
        ({"graph_config.mode": 3}, ["--graph-config.mode=3"]),
        ({"graph_config.deep_mode": True}, ["--graph-config.deep_mode=true"]),
        ({"graph_config.name": "a"}, ["--graph-config.name=a"]),
        ({"overrides": {"a": 1}}, ['--overrides={"a": 1}']),
        ({"overrides": "x.json"}, ["--overrides=x.json"]),
        ({"newer": {"a": 1}, "other": [1, 2]}, ['--newer={"a": 1}', "--other", "1", "2"]),
    ],
)
def test_words_of_a_command_line(arguments: EngineArguments, values: dict[str, Any], words: list[str]) -> None:
    """As the parser takes them, also where the list lacks the flag."""
    assert arguments.command_line(CPU, values) == words
