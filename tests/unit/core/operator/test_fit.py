"""Can the models run on the nodes there are: said before anything changes."""

from __future__ import annotations

from typing import Any

import pytest

from rayllm import Node
from rayllm.config.schema import ModelConfig
from rayllm.deployment.fit import amounts, misfits, room, shortage
from rayllm.deployment.usage import ranks_of, taken


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


def machines(*gpus: int) -> list[Node]:
    """One node with so many GPUs each."""
    return [Node(id=str(n), state="alive", resources={"CPU": 8.0, "GPU": float(there)}) for n, there in enumerate(gpus)]


@pytest.mark.parametrize(
    ("gpus", "fit"),
    [((8,), 0), ((8, 8), 1), ((16, 8), 1), ((16, 16), 2), ((8, 8, 8), 1), ((16, 8, 8), 2), ((0, 8), 0)],
)
def test_replicas_on_two_nodes(gpus: tuple[int, ...], fit: int) -> None:
    """No two parts of one replica on the same node."""
    assert room({"GPU": 8.0}, machines(*gpus), {}, 2) == fit


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ((8,), "the cluster has 1 node"),
        ((8, 4, 0), "1 of the 3 nodes has so much, the largest has 8 GPUs, 8 CPU cores"),
        ((4, 4), "none of the 2 nodes has so much, the largest has 4 GPUs, 8 CPU cores"),
    ],
)
def test_too_few_nodes(gpus: tuple[int, ...], words: str) -> None:
    """Told with what each of them needs, and how many have that."""
    asked = model(gpus=8, cpus=1, nodes=3 if len(gpus) == 1 else 2)
    each = f"m: one replica needs {asked.resources.nodes} nodes with 8 GPUs, 1 CPU core each; "
    assert misfits({"m": asked}, machines(*gpus)) == [each + words]


def test_several_nodes_that_are_taken() -> None:
    """How many have it free; and all together may be too many."""
    used = {"1": {"GPU": 4.0}}
    assert shortage({"GPU": 8.0}, machines(8, 8), {}, 2) == ""
    assert shortage({"GPU": 8.0}, machines(8, 8), used, 2) == (
        "one replica needs 2 nodes with 8 GPUs each; 1 of the 2 nodes has so much free"
    )
    assert misfits({"a": model(gpus=8, nodes=2), "b": model(gpus=1)}, machines(8, 8)) == [
        "all models together need 17 GPUs; the cluster has 16 GPUs"
    ]


def test_what_ranks_hold() -> None:
    """As much on each node of a replica as on the first, which is all that Serve tells of."""
    replicas = [{"replica_id": "r1", "node_id": "0"}, {"replica_id": "r2", "node_id": None}]
    details = {
        "applications": {"d--m": {"deployments": {"e": {"required_resources": {"GPU": 8}, "replicas": replicas}}}}
    }
    ranks = ranks_of({"replicas": [{"replica": "r1", "ranks": ["1"]}, {"replica": "other"}]})
    assert taken(details, ranks) == {"0": {"GPU": 8.0}, "1": {"GPU": 8.0}}
    assert taken(details, ranks_of(None)) == {"0": {"GPU": 8.0}}


def test_the_type_of_gpus() -> None:
    """The nodes' types are named where none is the right one."""
    wants = {"m": model(gpus=2, accelerator="L40S")}
    there = [Node(id="a", state="alive", resources={"CPU": 8, "GPU": 2, "accelerator_type:H100": 1})]
    needs = "m: one replica needs 2 GPUs of type L40S, 1 CPU core; the nodes have "
    assert misfits(wants, there) == [f"{needs}GPUs of type H100"]
    assert misfits(wants, machines(2)) == [f"{needs}no GPUs that tell their type"]
    assert misfits({"m": model(gpus=2, accelerator="H100")}, there) == []


def test_why_there_is_no_room() -> None:
    """Too large for any, or taken; nothing where there should be room."""
    nodes = [node(CPU=4, GPU=1), node(CPU=2)]
    assert shortage({"CPU": 1.0}, nodes, {}) == ""
    assert shortage({"CPU": 8.0}, nodes, {}) == "one replica needs 8 CPU cores; the largest node has 4 CPU cores"
    text = "one replica needs 3 CPU cores, 1 GPU; no node has that free, the best has 1 CPU core, 1 GPU"
    assert shortage({"CPU": 3.0, "GPU": 1.0}, nodes[:1], {"n": {"CPU": 3.0}}) == text
    assert shortage({"CPU": 8.0}, [], {}) == "", "what nodes there are is not known"
    assert amounts({"memory": 2**31, "TPU": 2}) == "2 GiB of memory, 2 TPU"
