"""vLLM on several nodes: exact commands, whose flags are all in the lists of the pinned versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayllm import Command, Device, InputError, Launch
from rayllm.arguments.listing import read_list
from rayllm.config import ConfigErrors, load
from rayllm.plugins import Plugins
from rayllm_engine_vllm.arguments import ARGUMENTS
from rayllm_engine_vllm.commands import commands
from rayllm_engine_vllm.options import VllmOptions

CPU = Device(kind="cpu", features=frozenset({"avx2", "avx512_bf16"}))
CUDA = Device(kind="cuda")
MEET = ("--nnodes", "2", "--master-addr", "10.0.0.1", "--master-port", "20100")


def ranks(device: Device, options: dict[str, Any], nodes: int = 2, **resources: Any) -> list[Command]:
    """The commands of a replica on nodes 10.0.0.1 and up, as the node of the first has them."""
    found = commands(
        Launch(
            python="/env/bin/python",
            model_path="/models/m",
            model_name="small",
            options=VllmOptions.model_validate(options),
            host="127.0.0.1",
            port=4000,
            device=device,
            nodes=nodes,
            addresses=[f"10.0.0.{1 + rank}" for rank in range(nodes)],
            rendezvous_port=20100,
            interface="eth0",
            **resources,
        )
    )
    known = read_list(ARGUMENTS.pinned[device.kind]).by_flag
    for command in found:
        written = [word.partition("=")[0] for word in command.argv[4:] if word.startswith("--")]
        assert [flag for flag in written if flag not in known] == []
    return found


def after_the_name(command: Command) -> tuple[str, ...]:
    """What follows the address and the model."""
    return command.argv[command.argv.index("small") + 1 :]


def test_tensor_parallel_over_two_nodes() -> None:
    """One part on each GPU of both; only the first serves."""
    first, second = ranks(CUDA, {}, gpus=8)
    assert after_the_name(first) == ("--tensor-parallel-size=16", *MEET, "--node-rank", "0")
    assert after_the_name(second) == ("--tensor-parallel-size=16", *MEET, "--node-rank", "1", "--headless")
    network = {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "eth0"}
    assert first.env.items() >= {"VLLM_HOST_IP": "10.0.0.1", **network}.items()
    assert second.env.items() >= {"VLLM_HOST_IP": "10.0.0.2", **network}.items()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pipeline_parallel_size": 2}, ("--tensor-parallel-size=8", "--pipeline-parallel-size=2", *MEET)),
        (
            {"data_parallel_size": 16, "enable_expert_parallel": True},
            (
                *("--data-parallel-size=16", "--enable-expert-parallel", *MEET),
                *("--data-parallel-address", "10.0.0.1", "--data-parallel-rpc-port", "20101"),
            ),
        ),
        (
            {"data_parallel_size": 2, "pipeline_parallel_size": 2},
            (
                *("--tensor-parallel-size=4", "--pipeline-parallel-size=2", "--data-parallel-size=2", *MEET),
                *("--data-parallel-address", "10.0.0.1", "--data-parallel-rpc-port", "20101"),
            ),
        ),
    ],
)
def test_other_shapes_over_two_nodes(options: dict[str, Any], said: tuple[str, ...]) -> None:
    """VLLM derives from sizes and rank what is on which node."""
    first, second = ranks(CUDA, options, gpus=8)
    assert after_the_name(first) == (*said, "--node-rank", "0")
    assert after_the_name(second) == (*said, "--node-rank", "1", "--headless")


def test_on_cpus() -> None:
    """Each node's cores are for the parts on that node."""
    first, _ = ranks(CPU, {"tensor_parallel_size": 4}, cpus=4)
    assert first.env["OMP_NUM_THREADS"] == "2"
    assert first.env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"


@pytest.mark.parametrize(
    ("device", "options", "resources", "words"),
    [
        (CUDA, {"tensor_parallel_size": 8}, {"gpus": 8}, "tensor parallel 8 makes 8 parts, less than the 16 GPUs"),
        (CPU, {}, {}, "tensor parallel 1 makes 1 part, which can't be spread evenly over 2 nodes"),
        (CPU, {"tensor_parallel_size": 3}, {}, "makes 3 parts, which can't be spread evenly over 2 nodes"),
    ],
)
def test_shapes_that_can_t_work(device: Device, options: dict[str, Any], resources: dict[str, Any], words: str) -> None:
    """Refused before anything starts, with the numbers."""
    with pytest.raises(InputError, match=words):
        ranks(device, options, **resources)


def test_a_file_with_a_shape_that_can_t_work(tmp_path: Path) -> None:
    """Told at the options, before anything starts."""
    file = tmp_path / "rayllm.yaml"
    model = "{engine: vllm, source: /m, options: {pipeline_parallel_size: 3}, resources: {gpus: 8, nodes: 2}}"
    file.write_text(f"name: d\ncluster: {{backend: ray, options: {{address: 'http://a'}}}}\nmodels: {{m: {model}}}\n")
    with pytest.raises(ConfigErrors) as caught:
        load(file, Plugins.discover(), {})
    (problem,) = caught.value.problems
    assert problem.name == "models.m.options"
    assert problem.message == (
        "tensor parallel 5 × pipeline parallel 3 makes 15 parts, less than the 16 GPUs of a replica"
    )
