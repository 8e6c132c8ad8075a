"""SGLang on several nodes: exact commands, whose flags are all in the lists of the pinned versions."""

from __future__ import annotations

from typing import Any

import pytest

from rayllm import Command, Device, InputError, Launch
from rayllm.arguments.listing import read_list
from rayllm_engine_sglang.arguments import ARGUMENTS
from rayllm_engine_sglang.commands import commands
from rayllm_engine_sglang.options import SglangOptions

CPU = Device(kind="cpu", features=frozenset({"avx2", "avx512_bf16"}))
CUDA = Device(kind="cuda")
MEET = ("--nnodes", "2", "--dist-init-addr", "10.0.0.1:20100")


def ranks(device: Device, options: dict[str, Any], **more: Any) -> list[Command]:
    """The commands of a replica on two nodes, as the node of the first has them."""
    launch: dict[str, Any] = {
        "python": "/env/bin/python",
        "model_path": "/models/m",
        "model_name": "small",
        "host": "127.0.0.1",
        "port": 4000,
        "nodes": 2,
        "addresses": ("10.0.0.1", "10.0.0.2"),
        "rendezvous_port": 20100,
        "interface": "eth0",
    }
    found = commands(Launch(options=SglangOptions.model_validate(options), device=device, **launch | more))
    known = read_list(ARGUMENTS.pinned[device.kind]).by_flag
    for command in found:
        written = [word.partition("=")[0] for word in command.argv[3:] if word.startswith("--")]
        assert [flag for flag in written if flag not in known] == []
    return found


def after_the_name(command: Command) -> tuple[str, ...]:
    """What follows the address, the model and the metrics."""
    return command.argv[command.argv.index("--enable-metrics") + 1 :]


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, ("--tp-size=16",)),
        ({"pp_size": 2}, ("--tp-size=8", "--pp-size=2")),
        ({"attn_dp_size": 16, "ep_size": 16}, ("--tp-size=16", "--attn-dp-size=16", "--ep-size=16")),
    ],
)
def test_over_two_nodes(options: dict[str, Any], sizes: tuple[str, ...]) -> None:
    """SGLang derives from sizes and rank what is on which node."""
    first, second = ranks(CUDA, options, gpus=8)
    assert after_the_name(first) == (*sizes, *MEET, "--node-rank", "0")
    assert after_the_name(second) == (*sizes, *MEET, "--node-rank", "1")
    network = {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_IFNAME": "eth0"}
    assert first.env.items() >= {"SGLANG_HOST_IP": "10.0.0.1", **network}.items()
    assert second.env.items() >= {"SGLANG_HOST_IP": "10.0.0.2", **network}.items()


def test_an_address_with_colons() -> None:
    """In brackets before a port."""
    first, _ = ranks(CUDA, {}, gpus=1, addresses=("fd00::1", "fd00::2"))
    assert "[fd00::1]:20100" in first.argv


def test_on_cpus() -> None:
    """Each node's cores are for the parts on that node, one group for each; SGLang would want a NUMA node for each."""
    first, _ = ranks(CPU, {"tp_size": 4}, cpus=4)
    assert first.env["OMP_NUM_THREADS"] == "2"
    assert first.env["SGLANG_CPU_OMP_THREADS_BIND"] == "0-1|2-3"


@pytest.mark.parametrize(
    ("device", "options", "resources", "words"),
    [
        (CUDA, {"tp_size": 8}, {"gpus": 8}, "tensor parallel 8 makes 8 parts, less than the 16 GPUs"),
        (CUDA, {"dp_size": 2}, {"gpus": 8}, "dp_size 2 on 2 nodes: SGLang keeps the copies of a model on one node"),
        (CPU, {}, {}, "tensor parallel 1 makes 1 part, which can't be spread evenly over 2 nodes"),
    ],
)
def test_shapes_that_can_t_work(device: Device, options: dict[str, Any], resources: dict[str, Any], words: str) -> None:
    """Refused before anything starts, with the numbers."""
    with pytest.raises(InputError, match=words):
        ranks(device, options, **resources)
