"""Can the models run on the nodes there are: said before anything changes."""

from __future__ import annotations

from typing import Any

from rayllm import Node
from rayllm.config.schema import ModelConfig
from rayllm.deployment.fit import amounts, misfits, room, shortage


def node(state: str = "alive", **resources: float) -> Node:
    """A machine."""
    return Node(id="n", state=state, resources=resources)


def model(replicas: Any = 1, **resources: Any) -> ModelConfig:
    """A model that needs so much."""
    return ModelConfig.model_validate(
        {"engine": "toy", "source": "file:/m", "replicas": replicas, "resources": resources}
    )


def test_it_fits() -> None:
    """To the last core and byte."""
    nodes = [node(CPU=2, GPU=1, memory=8 * 2**30), node(CPU=1)]
    assert misfits({"a": model(gpus=1, cpus=2, memory="8GiB"), "b": model()}, nodes) == []


def test_no_node_is_large_enough() -> None:
    """Two halves make no whole."""
    nodes = [node(CPU=2, GPU=1, memory=4 * 2**30), node(CPU=4)]
    assert misfits({"big": model(gpus=2, cpus=3, memory="6GiB"), "small": model()}, nodes) == [
        (
            "big: one replica needs 2 GPUs, 3 CPU cores, 6 GiB of memory; "
            "the largest node has 1 GPU, 4 CPU cores, 4 GiB of memory"
        )
    ]


def test_all_together_are_too_many() -> None:
    """Each fits alone."""
    models = {"a": model(cpus=1.5, replicas=2), "b": model(cpus=0.5)}
    assert misfits(models, [node(CPU=2), node(CPU=1)]) == [
        "all models together need 3.5 CPU cores; the cluster has 3 CPU cores"
    ]


def test_a_range_needs_its_least() -> None:
    """More come if there is room."""
    assert misfits({"a": model(replicas={"min": 0, "max": 9}), "b": model(replicas=2)}, [node(CPU=2)]) == []


def test_the_dead_hold_nothing() -> None:
    """And where nobody is alive yet, nothing is known."""
    assert misfits({"a": model(cpus=2)}, [node(CPU=1), node("dead", CPU=64)]) == [
        "a: one replica needs 2 CPU cores; the largest node has 1 CPU core"
    ]
    assert misfits({"a": model()}, [node("dead", CPU=64)]) == []
    assert misfits({"a": model()}, []) == []


def test_large_numbers_are_written_out() -> None:
    """No `1e+03`."""
    assert misfits({"a": model(cpus=2048)}, [node(CPU=1024)]) == [
        "a: one replica needs 2048 CPU cores; the largest node has 1024 CPU cores"
    ]


def test_how_many_fit() -> None:
    """On each node whole ones, beside what is there already; the dead hold nothing."""
    nodes = [Node(id="a", state="alive", resources={"CPU": 4.0, "GPU": 1.0}), Node(id="b", state="dead")]
    nodes += [Node(id="c", state="alive", resources={"CPU": 0.3})]
    assert room({"CPU": 1.5}, nodes, {}) == 2
    assert room({"CPU": 1.5}, nodes, {"a": {"CPU": 1.5}}) == 1
    assert room({"CPU": 1.0, "GPU": 1.0}, nodes, {}) == 1
    assert room({"CPU": 0.1}, nodes, {"a": {"CPU": 4.0}}) == 3, "a sum of floats is not exact"
    assert room({"memory": 1.0}, nodes, {}) == 0


def test_why_there_is_no_room() -> None:
    """Too large for any, or taken; nothing where there should be room."""
    nodes = [node(CPU=4, GPU=1), node(CPU=2)]
    assert shortage({"CPU": 1.0}, nodes, {}) == ""
    assert shortage({"CPU": 8.0}, nodes, {}) == "one replica needs 8 CPU cores; the largest node has 4 CPU cores"
    text = "one replica needs 3 CPU cores, 1 GPU; no node has that free, the best has 1 CPU core, 1 GPU"
    assert shortage({"CPU": 3.0, "GPU": 1.0}, nodes[:1], {"n": {"CPU": 3.0}}) == text
    assert shortage({"CPU": 8.0}, [], {}) == "", "what nodes there are is not known"
    assert amounts({"memory": 2**31, "TPU": 2}) == "2 GiB of memory, 2 TPU"
