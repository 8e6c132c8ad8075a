"""What is chosen and refused before anything is made: images, kinds of GPUs, names."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rayllm import ClusterError, ClusterSpec, InputError
from rayllm_backend_cai.api.records import NodeLabel, Runtime
from rayllm_backend_cai.options import CaiOptions, NodeOptions
from rayllm_backend_cai.steps.accelerators import label_of
from rayllm_backend_cai.steps.rules import require_possible
from rayllm_backend_cai.steps.runtimes import choose

CPU, GPU = NodeOptions(), NodeOptions(gpus=1)


def image(name: str, kernel: str = "Python 3.11", edition: str = "Standard", **more: Any) -> Runtime:
    """A runtime as the workspace lists it."""
    told = {"editor": "PBJ Workbench", "full_version": "2026.04.2-b16", "status": "ENABLED", **more}
    return Runtime(image_identifier=name, kernel=kernel, edition=edition, **told)


PLAIN, CUDA = image("plain"), image("cuda", edition="Nvidia GPU")


def test_the_newest_python_that_all_nodes_can_have() -> None:
    """Where GPUs are, there is CUDA for one version alone."""
    there = [PLAIN, image("newer", "Python 3.12"), CUDA, image("old", "Python 3.9"), image("r", "R 4.5")]
    assert choose({"head": CPU}, there) == ({"head": "newer"}, "3.12")
    assert choose({"head": CPU, "g": GPU}, there) == ({"head": "plain", "g": "cuda"}, "3.11")


def test_the_newest_image_of_a_python() -> None:
    """By numbers, not by letters; a plain one, in the editor whose scripts are the simplest."""
    there = [
        PLAIN,
        image("newest", full_version="2026.10.1-b2"),
        image("hardened", edition="Hardened", full_version="2027.01.1-b1"),
        image("lab", editor="JupyterLab", full_version="2026.10.1-b2"),
        image("off", full_version="2027.04.1-b1", status="DISABLED"),
    ]
    assert choose({"head": CPU}, there)[0] == {"head": "newest"}


def test_what_nodes_run_in_stays() -> None:
    """A newer image would restart them; one that is disabled can't stay."""
    there = [PLAIN, image("newer", "Python 3.12")]
    assert choose({"head": CPU}, there, {"head": "plain"}) == ({"head": "plain"}, "3.11")
    off = [image("plain", status="DISABLED"), there[1]]
    assert choose({"head": CPU}, off, {"head": "plain"}) == ({"head": "newer"}, "3.12")


REFUSED: list[tuple[dict[str, NodeOptions], list[Runtime], str]] = [
    ({"head": CPU}, [], "no enabled runtime"),
    ({"head": CPU}, [image("r", "R 4.5")], "no enabled runtime"),
    ({"head": CPU}, [image("old", "Python 3.9")], "Python 3.10 or newer"),
    ({"head": CPU, "g": GPU}, [PLAIN], "and CUDA for g"),
    ({"head": NodeOptions(runtime="gone")}, [PLAIN], "is not among this workspace's runtimes"),
    ({"head": NodeOptions(runtime="off")}, [image("off", status="DISABLED")], "is disabled"),
    ({"head": NodeOptions(runtime="old")}, [image("old", "Python 3.9")], "no Python that Ray runs with"),
    (
        {"head": NodeOptions(runtime="plain"), "g": NodeOptions(runtime="newer")},
        [PLAIN, image("newer", "Python 3.12")],
        "the same version of Python",
    ),
    ({"head": NodeOptions(runtime="plain"), "g": GPU}, [PLAIN, image("c", "Python 3.12", "Nvidia GPU")], "Python 3.11"),
]


def test_no_runtime_with_cuda() -> None:
    """To leave `runtime:` out, as was done, is no cure."""
    with pytest.raises(ClusterError) as caught:
        choose({"head": CPU, "g": GPU}, [PLAIN])
    assert "edition Nvidia GPU" in (caught.value.cure or "")
    assert "leave it out" not in (caught.value.cure or "")


@pytest.mark.parametrize(("wanted", "there", "said"), REFUSED)
def test_runtimes_that_are_not_to_be_had(wanted: dict[str, NodeOptions], there: list[Runtime], said: str) -> None:
    """With what there is, and what to do."""
    with pytest.raises(ClusterError, match=said) as caught:
        choose(wanted, there)
    assert caught.value.cause
    assert caught.value.cure
    assert caught.value.topic == "cai-runtime"


def label(number: int, value: str, most: int = 8, *, there: bool = True) -> NodeLabel:
    """A kind of GPUs as the workspace lists it."""
    return NodeLabel(id=number, label_value=value, availability=there, max_gpu_per_workload=most)


LABELS = [label(1, "NVIDIA-L4", 1), label(2, "NVIDIA-L40S"), label(3, "NVIDIA-A100-SXM4-80GB"), label(4, "Tesla-T4")]


@pytest.mark.parametrize(
    ("accelerator", "found"),
    [
        ("NVIDIA-L4", (1, "L4")),
        ("L4", (1, "L4")),
        ("nvidia-l40s", (2, "L40S")),
        ("A100", (3, "A100")),
        ("T4", (4, "T4")),
        (None, (0, "")),
    ],
)
def test_a_kind_of_gpus_by_its_name_or_a_part_of_it(accelerator: str | None, found: tuple[int, str]) -> None:
    """The whole name goes before parts; with Ray's own word for it."""
    assert label_of("g", NodeOptions(gpus=1, accelerator=accelerator), LABELS) == found


def test_the_only_kind_of_gpus_is_the_default() -> None:
    """What Ray will call it is known then."""
    assert label_of("g", NodeOptions(gpus=2), LABELS[1:2]) == (0, "L40S")
    assert label_of("g", NodeOptions(), LABELS) == (0, "")


@pytest.mark.parametrize(
    ("node", "labels", "said"),
    [
        (NodeOptions(gpus=1, accelerator="NVIDIA"), LABELS, "several kinds of GPUs"),
        (NodeOptions(gpus=1, accelerator="H100"), LABELS, "no kind of GPUs"),
        (NodeOptions(gpus=1, accelerator="H100"), [label(1, "NVIDIA-H100", there=False)], "no kind of GPUs"),
        (NodeOptions(gpus=2, accelerator="NVIDIA-L4"), LABELS, "asks for 2 GPUs"),
        (NodeOptions(gpus=2), LABELS[:1], "asks for 2 GPUs"),
    ],
)
def test_gpus_that_are_not_to_be_had(node: NodeOptions, labels: list[NodeLabel], said: str) -> None:
    """With what there is, and what to do."""
    with pytest.raises(ClusterError, match=said) as caught:
        label_of("g", node, labels)
    assert caught.value.cure


SPEC = ClusterSpec(name="demo", gateway_host="127.0.0.1", gateway_port=8000)


@pytest.mark.parametrize(
    ("options", "spec", "said"),
    [
        ({"bypass_authentication": True}, {}, "open the endpoint to everybody"),
        ({}, {"gateway_tls": True}, "ingress speaks HTTPS"),
        ({"subdomain": "My_App"}, {}, "can't be a part of an address"),
        ({"subdomain": "a--b"}, {}, "can't be a part of an address"),
        ({"subdomain": "a" * 64}, {}, "longer than the 63"),
        ({"workers": {"a--b": {}}}, {}, "workers.a--b"),
        ({"workers": {"group": {}}}, {"name": "n" * 60}, "longer than the 63"),
    ],
)
def test_what_can_not_be(options: dict[str, Any], spec: dict[str, Any], said: str) -> None:
    """It is refused before anything is asked."""
    with pytest.raises(InputError, match=said) as caught:
        require_possible(dataclasses.replace(SPEC, **spec), CaiOptions.model_validate(options))
    assert caught.value.cure


def test_what_can_be() -> None:
    """A bypass with keys; groups with ranges."""
    options = {"bypass_authentication": True, "workers": {"gpu": {"count": {"min": 0, "max": 4}}}}
    require_possible(dataclasses.replace(SPEC, keys_required=True), CaiOptions.model_validate(options))
