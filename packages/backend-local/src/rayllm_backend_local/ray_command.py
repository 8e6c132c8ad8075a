"""How the nodes of a local cluster are started: argument lists and environments. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rayllm_backend_local.options import LocalOptions
from rayllm_backend_local.state import Folder, State

LOOPBACK = "127.0.0.1"
OBJECT_STORE = 512 << 20
"""Bytes of shared memory for Ray's objects on a node; serving passes small ones, the rest is the models'."""
_SCRIPT = Path(__file__).with_name("ray_start.py")


def head(state: State, options: LocalOptions, cores: int) -> list[str]:
    """The command of the head, where `cores` is what this machine has."""
    gpus = [] if options.gpus is None else [f"--num-gpus={options.gpus}"]
    return [
        *_node(state.temp_dir, options, cores),
        "--head",
        f"--port={state.gcs_port}",
        f"--dashboard-host={LOOPBACK}",
        f"--dashboard-port={state.dashboard_port}",
        "--no-monitor",  # it serves Ray's autoscaler, and there is nothing to scale
        *gpus,
    ]


def worker(state: State, options: LocalOptions, cores: int, number: int) -> list[str]:
    """The command of the simulated worker `number`, counted from 1."""
    # A folder of its own: two nodes that start at once in the same one take the same socket.
    node = _node(f"{state.temp_dir}/w{number}", options, cores)
    return [*node, f"--address={LOOPBACK}:{state.gcs_port}", "--num-gpus=0"]


def environ(folder: Folder, state: State, surrounding: Mapping[str, str]) -> dict[str, str]:
    """The environment of the nodes: the person's own, without another Ray's or Python's settings.

    Args:
        folder: the cluster's.
        state: the cluster's, with its ports.
        surrounding: the environment that the cluster is started from, already without Ray's and Python's variables.
    """
    direct = ",".join(filter(None, [surrounding.get("no_proxy") or surrounding.get("NO_PROXY"), LOOPBACK, "localhost"]))
    return {
        **surrounding,
        # Commands of Ray's own environment, such as uv, are found before others.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), surrounding.get("PATH", os.defpath)]),
        "no_proxy": direct,
        "NO_PROXY": direct,
        "RAYLLM_HOME": str(folder.home),
        "DASHBOARD_METRIC_PORT": str(state.metrics_port),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder.token_file),
        # Ray's name for "one machine": every address is loopback's.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would give its workers, and so the engines and HAProxy, a low priority (15).
        "RAY_worker_niceness": "0",
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(folder.storage),
    }


def _node(temp_dir: str, options: LocalOptions, cores: int) -> list[str]:
    return [
        sys.executable,
        str(_SCRIPT),
        "start",
        "--block",
        f"--node-ip-address={LOOPBACK}",
        f"--temp-dir={temp_dir}",
        f"--num-cpus={max(1, (options.cpus or cores) // options.nodes)}",
        f"--object-store-memory={OBJECT_STORE}",
        "--dashboard-agent-listen-port=0",  # 0: the kernel picks one, as for all ports that are not named
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-log-monitor=false",
        "--log-style=record",
        "--log-color=false",
    ]
