"""Capabilities as a table: what an engine declares by device, and what is asked beyond it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rayllm import Engine, Environment, Options, Shape
from rayllm.config.capabilities import check_capabilities, check_shape
from rayllm.config.document import Document
from rayllm.engines import CAPABILITIES, capability_rows
from rayllm.plugins import Plugins

PLAIN = Engine(
    name="plain",
    summary="",
    options=Options,
    environment=Environment(()),
    commands=lambda _: [],
    capabilities={"chat"},
)
BY_DEVICE = replace(PLAIN, name="by-device", capabilities={"cpu": {"chat"}, "cuda": ["chat", "gguf"]})
ON_CPU = replace(PLAIN, name="on-cpu", capabilities={"chat", "gguf"}, environment={"cpu": Environment(())})


def test_what_an_engine_can_do() -> None:
    """Everywhere, or by device; nothing where it does not run."""
    assert (PLAIN.devices, ON_CPU.devices) == (("cpu", "cuda"), ["cpu"])
    assert PLAIN.can("cpu") == PLAIN.can("cuda") == {"chat"}
    assert [BY_DEVICE.can(kind) for kind in ("cpu", "cuda")] == [{"chat"}, {"chat", "gguf"}]
    assert [ON_CPU.can(kind) for kind in ("cpu", "cuda")] == [{"chat", "gguf"}, frozenset()]


def test_the_table() -> None:
    """Each capability, and where each engine has it."""
    rows = capability_rows({one.name: {kind: one.can(kind) for kind in one.devices} for one in (BY_DEVICE, ON_CPU)})
    assert [row[0] for row in rows] == list(CAPABILITIES)
    told = {word: devices for word, *devices in rows}
    assert (told["chat"], told["gguf"], told["lora"]) == (["cpu, cuda", "cpu"], ["cuda", "cpu"], ["-", "-"])


@pytest.mark.parametrize(
    ("engine", "gpus", "choices", "cure"),
    [
        (BY_DEVICE, 1, None, None),
        (ON_CPU, 1, None, None),
        (
            BY_DEVICE,
            0,
            "installed engines that can: on-cpu",
            "name one of these engines, or use cuda, where it can, or name a folder in Hugging Face layout",
        ),
        (
            PLAIN,
            1,
            "installed engines that can: by-device",
            "name one of these engines, or name a folder in Hugging Face layout",
        ),
    ],
)
def test_what_is_asked_beyond_it(engine: Engine[Options], gpus: int, choices: str, cure: str) -> None:
    """Refused at its place, with who can do it; that an engine does not run there at all is another rule's."""
    document, plugins = Document(Path("f"), values={("m", "source"): (3, 4)}), Plugins()
    plugins.engines.update({one.name: one for one in (PLAIN, BY_DEVICE, ON_CPU)})
    check_capabilities(document, plugins, engine, ("m",), {"source": "a.gguf", "resources": {"gpus": gpus}})
    found = [(one.line, one.column, one.message, one.choices, one.cure) for one in document.problems]
    said = f'engine "{engine.name}" can\'t do "gguf" on {"cuda" if gpus else "cpu"}'
    assert found == ([(3, 4, said, choices, cure)] if choices else [])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Shape(), []),
        (Shape(tensor=2), ["tensor-parallel"]),
        (Shape(pipeline=2, data=2), ["data-parallel", "pipeline-parallel"]),
        (Shape(expert=True), ["expert-parallel"]),
    ],
)
def test_a_split_that_the_engine_does_not_know(shape: Shape, words: list[str]) -> None:
    """Told by the ways that it takes, once for each."""
    plugins, document = Plugins(), Document(Path("f"), values={("models", "m", "options"): (3, 4)})
    plugins.engines["plain"] = replace(PLAIN, shape=lambda options, gpus: shape)  # noqa: ARG005
    check_shape(document, plugins, Options(), "m", {"engine": "plain", "resources": {"gpus": 2}})
    wanted = [f'engine "plain" can\'t do "{word}" on cuda' for word in words]
    assert sorted(one.message for one in document.problems) == wanted
    assert {one.cure for one in document.problems} <= {f"don't ask for {shape}"}


def test_a_split_is_asked_for_by_all_gpus_of_a_replica() -> None:
    """Those of all its nodes; several nodes are something to be able to do, too."""
    plugins, document = Plugins(), Document(Path("f"), values={("models", "m", "options"): (3, 4)})
    plugins.engines["plain"] = replace(PLAIN, shape=lambda _, gpus: Shape(tensor=gpus))
    model = {"engine": "plain", "resources": {"gpus": 2, "nodes": 4}}
    check_shape(document, plugins, Options(), "m", model)
    check_capabilities(document, plugins, plugins.engines["plain"], ("models", "m"), model)
    assert [one.message for one in document.problems] == [
        'engine "plain" can\'t do "tensor-parallel" on cuda',
        'engine "plain" can\'t do "multi-node" on cuda',
    ]
    assert document.problems[0].cure == "don't ask for tensor parallel 8"
