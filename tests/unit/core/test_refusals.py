"""What a backend refuses: told where the file is checked, at its key, with all else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rayllm import ClusterSpec, Refusal
from rayllm.config.schema import ModelConfig

if TYPE_CHECKING:
    from tests.unit.core.conftest import Checker

Refuse = Callable[[Any, ClusterSpec, Mapping[str, ModelConfig]], Any]
FILE = """name: demo
cluster:
  backend: cai
  options:
    nodes: 2
    token: ${env:TOKEN}
models:
  m:
    engine: vllm
    source: /m
    resources:
      gpus: 1
gateway: {keys: required, port: 8123}
"""
TOKEN = {"TOKEN": "s3cret"}


@pytest.fixture
def refusing(check: Checker) -> Callable[[Refuse], Checker]:
    """With a backend that refuses so."""

    def make(refuse: Refuse) -> Checker:
        backends = check.plugins.backends
        backends["cai"] = replace(backends["cai"], refuse=refuse)
        return check

    return make


def refused(*refusals: Refusal) -> Refuse:
    """Whatever the file is."""
    return lambda *_: refusals


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (("cluster", "options", "nodes"), "5:12  cluster.options.nodes"),
        (("models", "m", "resources"), "11:5  models.m.resources"),
        (("models", "m", "resources", "cpus"), "11:5  models.m.resources.cpus"),
        (("gateway", "tls"), "13:1  gateway.tls"),
        (("nobody", "has", "this"), "1:1  nobody.has.this"),
        (("name", "x"), "1:1  name.x"),
    ],
)
def test_a_refusal_has_its_place(refusing: Callable[[Refuse], Checker], key: tuple[str, ...], place: str) -> None:
    """At a value; at the key of a block, and of what should hold a key that is not there."""
    check = refusing(refused(Refusal(key=key, message="it can't be", cure="another")))
    indent = " " * len(f"f:{place.partition(' ')[0]}")
    assert check.mistakes(FILE, TOKEN) == [f"f:{place}: it can't be", f"{indent}  → another"]


def test_it_comes_with_all_else(refusing: Callable[[Refuse], Checker]) -> None:
    """In the order of the file; an engine's options that are wrong hide it not."""
    check = refusing(refused(Refusal(key=("cluster", "options", "nodes"), message="one is the most")))
    file = FILE + "packages: {find_links: [here]}\n"
    assert check.mistakes(file.replace("source: /m", "source: /m\n    options: {share: 2}"), TOKEN) == [
        "f:5:12  cluster.options.nodes: one is the most",
        "f:11:22  models.m.options.share: at most 1 expected, found 2",
        'f:15:25  packages.find_links[0]: a whole path on the nodes or an address expected, found text "here"',
    ]


def test_what_it_is_asked(refusing: Callable[[Refuse], Checker]) -> None:
    """The options, the cluster without its secrets, and the models."""
    seen: list[Any] = []

    def refuse(options: Any, spec: ClusterSpec, models: Mapping[str, ModelConfig]) -> Iterator[Refusal]:
        seen.extend((options.nodes, spec, models["m"].resources.gpus))
        yield from ()

    refusing(refuse).right(FILE, TOKEN)
    spec = ClusterSpec(name="demo", gateway_host="127.0.0.1", gateway_port=8123, keys_required=True)
    assert seen == [2, spec, 1]


def test_a_file_that_is_wrong_is_not_shown_to_it(refusing: Callable[[Refuse], Checker]) -> None:
    """Neither with options that are not valid, nor with a block that is none."""

    def refuse(*_: Any) -> Any:
        raise AssertionError

    check = refusing(refuse)
    for there, instead in (("nodes: 2", "nodes: two"), ("gpus: 1", "gpus: one")):
        (line,) = check.mistakes(FILE.replace(there, instead), TOKEN)
        assert "a whole number expected" in line


def test_what_came_from_the_environment_is_not_shown(refusing: Callable[[Refuse], Checker]) -> None:
    """Whatever the backend says of it."""
    check = refusing(
        lambda options, *_: [Refusal(key=("cluster", "options", "token"), message=options.token, cure=options.token)]
    )
    assert check.mistakes(FILE, TOKEN) == ["f:6:12  cluster.options.token: ${env:TOKEN}", "        → ${env:TOKEN}"]


def test_its_own_faults_are_its_plugins(refusing: Callable[[Refuse], Checker]) -> None:
    """They hide no other problem, nor what it had refused before."""

    def refuse(*_: Any) -> Iterator[Refusal]:
        yield Refusal(key=("cluster", "options", "nodes"), message="one is the most")
        raise KeyError("gone")

    lines = refusing(refuse).mistakes(FILE, TOKEN)
    assert lines[0].startswith("f:3:3  cluster: ")
    assert "backend-cai can't tell what it refuses: KeyError: 'gone'" in lines[0]
    assert lines[-1] == "f:5:12  cluster.options.nodes: one is the most"
    lines = refusing(lambda *_: ["one is the most"]).mistakes(FILE, TOKEN)
    assert "refuse() yielded str, where a Refusal is wanted" in lines[0]
