"""How a node's Ray is started: argument lists. Pure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rayllm_backend_cai.node.pod import Pod
from rayllm_backend_cai.shared import HeadRecord, Shape

LOOPBACK = "127.0.0.1"
GROUP_LABEL = "rayllm.io/group"
GB = 1 << 30
OBJECT_STORE = 512 << 20
"""Bytes for Ray's objects on a node; serving passes small ones, the rest is the models'."""
OWN = OBJECT_STORE + GB
"""Bytes of a pod that Ray itself takes: its objects, and its processes and the gateway's on the head, of which 0.6 GiB
were seen there before any request."""
_SCRIPT = Path(__file__).with_name("ray_start.py")


def head(pod: Pod, shape: Shape, *, gcs_port: int, dashboard_port: int) -> list[str]:
    """The command of the head."""
    return [
        *_node(pod, shape),
        "--head",
        f"--port={gcs_port}",
        f"--dashboard-host={LOOPBACK}",
        f"--dashboard-port={dashboard_port}",
        "--no-monitor",  # it serves Ray's autoscaler, and the workers' keeper does without
    ]


def worker(pod: Pod, shape: Shape, at: HeadRecord) -> list[str]:
    """The command of a worker that joins this head."""
    return [*_node(pod, shape), f"--address={at.address}:{at.gcs_port}", f"--labels={GROUP_LABEL}={pod.group}"]


def resources(shape: Shape) -> dict[str, float]:
    """What a node of this shape has, as Ray counts."""
    told: dict[str, float] = {"CPU": max(1, int(shape.cpus)), "memory": max(GB, int(shape.memory * GB) - OWN)}
    if shape.gpus:
        told["GPU"] = shape.gpus
    if shape.gpus and shape.accelerator:  # which Ray may not detect; where it does, it is this very resource
        told[f"accelerator_type:{shape.accelerator}"] = 1
    return told


def _node(pod: Pod, shape: Shape) -> list[str]:
    told = resources(shape)
    return [
        sys.executable,
        str(_SCRIPT),
        str(pod.local / "joined"),
        "start",
        "--block",
        f"--node-ip-address={pod.address}",
        f"--node-name={pod.node}",
        f"--temp-dir={pod.ray}",
        f"--num-cpus={told.pop('CPU'):.0f}",
        f"--num-gpus={told.pop('GPU', 0):.0f}",
        f"--memory={told.pop('memory'):.0f}",
        f"--object-store-memory={OBJECT_STORE}",
        *([f"--resources={json.dumps(told)}"] if told else []),
        "--dashboard-agent-listen-port=0",  # 0: the kernel picks one, as for all ports that are not named
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--include-log-monitor=false",
        "--log-style=record",
        "--log-color=false",
    ]
