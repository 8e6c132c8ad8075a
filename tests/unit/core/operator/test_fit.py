"""Can the models run on the nodes there are: said before anything changes."""

from __future__ import annotations

from typing import Any

from rayllm import Node
from rayllm.config.schema import ModelConfig
from rayllm.deployment.fit import misfits


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
