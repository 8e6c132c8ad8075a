"""SGLang's own flags for a replica of several parts, on one node or on several. Pure."""

from __future__ import annotations

from rayllm import InputError, Launch, Shape
from rayllm_engine_sglang.options import SglangOptions


def sizes(options: SglangOptions, split: Shape) -> dict[str, int | None]:
    """The sizes that are not SGLang's default, by flag."""
    every = {
        "tp-size": split.tensor,
        "pp-size": split.pipeline,
        "dp-size": split.data,
        "attn-dp-size": options.attn_dp_size,
        "ep-size": options.ep_size,
    }
    return {flag: size if size > 1 else None for flag, size in every.items()}


def rank_flags(launch: Launch[SglangOptions], split: Shape) -> list[list[str]]:
    """What the command of each node rank has beside those of the others; only rank 0 serves the API.

    Raises:
        InputError: the parts can't be spread over the nodes.
    """
    split.on_each_of(launch.nodes)
    if launch.nodes == 1:
        return [[]]
    if split.data > 1:
        raise InputError(
            f"dp_size {split.data} on {launch.nodes} nodes: SGLang keeps the copies of a model on one node",
            cure="take `replicas:` for copies, or attn_dp_size for data parallel attention; else resources.nodes: 1",
        )
    first = launch.addresses[0]
    meet = f"[{first}]:{launch.rendezvous_port}" if ":" in first else f"{first}:{launch.rendezvous_port}"
    many = ["--nnodes", str(launch.nodes), "--dist-init-addr", meet]
    return [[*many, "--node-rank", str(rank)] for rank in range(launch.nodes)]


def rank_environ(launch: Launch[SglangOptions], rank: int) -> dict[str, str]:
    """Variables by which a rank on one of several nodes knows its own address and network."""
    if launch.nodes == 1:
        return {}
    names = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), launch.interface)
    return {"SGLANG_HOST_IP": launch.addresses[rank], **names}
