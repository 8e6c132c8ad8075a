"""vLLM's own flags for a replica of several parts, on one node or on several. Pure."""

from __future__ import annotations

from rayllm import Launch, Shape
from rayllm_engine_vllm.options import VllmOptions


def sizes(split: Shape) -> dict[str, bool | int | None]:
    """The sizes that are not vLLM's default, by flag."""
    return {
        "tensor-parallel-size": split.tensor if split.tensor > 1 else None,
        "pipeline-parallel-size": split.pipeline if split.pipeline > 1 else None,
        "data-parallel-size": split.data if split.data > 1 else None,
        "enable-expert-parallel": split.expert or None,
    }


def rank_flags(launch: Launch[VllmOptions], split: Shape) -> list[list[str]]:
    """What the command of each node rank has beside those of the others; only rank 0 serves HTTP.

    vLLM derives from rank and sizes which parts are on a node, those of data parallel too.

    Raises:
        InputError: the parts can't be spread evenly over the nodes.
    """
    split.on_each_of(launch.nodes)
    if launch.nodes == 1:
        return [[]]
    meet = ["--nnodes", str(launch.nodes), "--master-addr", launch.addresses[0]]
    meet += ["--master-port", str(launch.rendezvous_port)]
    if split.data > 1:
        meet += ["--data-parallel-address", launch.addresses[0]]
        meet += ["--data-parallel-rpc-port", str(launch.rendezvous_port + 1)]
    ranks = [[*meet, "--node-rank", str(rank)] for rank in range(launch.nodes)]
    return [ranks[0], *([*flags, "--headless"] for flags in ranks[1:])]


def rank_environ(launch: Launch[VllmOptions], rank: int) -> dict[str, str]:
    """Variables by which a rank on one of several nodes knows its own address and network."""
    if launch.nodes == 1:
        return {}
    names = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), launch.interface)
    return {"VLLM_HOST_IP": launch.addresses[rank], **names}
