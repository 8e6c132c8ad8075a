"""Where this process is: node, loopback, logs."""

from __future__ import annotations

import os
from pathlib import Path

import ray

HEAD = "node:__internal_head__"
"""A resource of the head node alone."""
LOG_FOLDER = "rayllm"
"""Folder of our logs inside Ray's log folder, which Ray's dashboard serves."""


def network_id() -> str:
    """Equal for two processes exactly when they share their loopback addresses (one network namespace, one boot)."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.exists():
        return os.uname().nodename
    return f"{boot.read_text(encoding='ascii').strip()}:{Path('/proc/self/ns/net').readlink()}"


def ray_logs() -> Path:
    """Ray's log folder on this node."""
    context = ray.get_runtime_context()
    return Path(str(context.get_temp_dir()), str(context.get_session_name()), "logs")


def node_id() -> str:
    """Ray's id of this node."""
    return str(ray.get_runtime_context().get_node_id())


def node_address() -> str:
    """This node's address, by which Ray's other nodes reach it."""
    return str(ray.util.get_node_ip_address())


def address_for_gateway() -> str | None:
    """This node's address, for the gateway on the head node; None on the head's own machine."""
    mine, nodes = node_id(), ray.nodes()
    heads = {node["NodeManagerAddress"] for node in nodes if node["Alive"] and HEAD in node["Resources"]}
    own = next((str(node["NodeManagerAddress"]) for node in nodes if node["NodeID"] == mine), None)
    return None if own in heads else own


def gpu_ids() -> list[str]:
    """The GPUs Ray gave to this actor."""
    return [str(gpu) for gpu in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]


def raylet_pid() -> int:
    """Ray's own process on this node, from which this one comes; 0 if it comes from another."""
    parent = os.getppid()
    try:
        return parent if Path(f"/proc/{parent}/comm").read_text(encoding="ascii").strip() == "raylet" else 0
    except OSError:
        return 0
