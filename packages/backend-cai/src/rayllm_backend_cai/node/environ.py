"""The environment that a node gives to Ray, and so to everything that runs in it. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rayllm_backend_cai.node.pod import Pod

# An allow-list: the platform puts its keys into every pod, and projects' variables are full of passwords.
_KEEP = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "TZ",
        "TMPDIR",
        "HOSTNAME",
        "LD_LIBRARY_PATH",
        "HADOOP_USER_NAME",
    }
    | {"XDG_CACHE_HOME", "TRITON_CACHE_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "RAYLLM_PLUGINS_DISABLED"}
)
_KEEP_PREFIXES = ("LC_", "HF_", "SSL_", "NCCL_", "GLOO_", "CUDA_", "NVIDIA_", "UV_", "PIP_")
# What object stores are asked with: who serves from one sets these for that very purpose.
_STORES = ("AWS_", "AZURE_STORAGE_", "GOOGLE_APPLICATION_", "STORAGE_EMULATOR_")
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
_DROP = frozenset({"PIP_USER"})
"""The platform's own: it would put what is built for an engine into the project's folder."""

RECONNECT_S = 30
"""A raylet whose head is gone for so long ends: one that only starts again in its pod is back by then."""
DRAIN_S = 10
"""Seconds that a worker may take to hand on its work when it leaves."""


def of_ray(pod: Pod, surrounding: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a node's Ray.

    Args:
        pod: the node's.
        surrounding: the pod's own environment.
        more: what only a head, or only a worker, is told.
    """
    direct = [surrounding.get("no_proxy") or surrounding.get("NO_PROXY") or "", pod.address, "127.0.0.1", "localhost"]
    no_proxy = ",".join(filter(None, direct))
    return {
        **{name: value for name, value in surrounding.items() if _is_kept(name)},
        # Commands of Ray's own environment, such as uv, are found before others.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), surrounding.get("PATH", os.defpath)]),
        "no_proxy": no_proxy,
        "NO_PROXY": no_proxy,
        "RAYLLM_HOME": str(pod.home),
        "RAYLLM_RUN": str(pod.run),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(pod.token),
        "RAY_CLOUD_INSTANCE_ID": pod.node,
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would give its workers, and so the engines and HAProxy, a low priority (15).
        "RAY_worker_niceness": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_S),
        **more,
    }


def of_head(pod: Pod, *, listen: int, dashboard: int, metrics: int) -> dict[str, str]:
    """What only the head is told: ports on loopback of what listens there."""
    return {
        "RAYLLM_GATEWAY_LISTEN": f"127.0.0.1:{listen}",
        "RAYLLM_DASHBOARD": f"127.0.0.1:{dashboard}",
        "DASHBOARD_METRIC_PORT": str(metrics),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(pod.storage),
    }


def of_worker(pod: Pod) -> dict[str, str]:
    """What only a worker is told."""
    return {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(DRAIN_S), "RAY_NODE_TYPE_NAME": pod.group}


def _is_kept(name: str) -> bool:
    if name in _DROP:
        return False
    return name in _KEEP or name.startswith(_KEEP_PREFIXES + _STORES) or name.upper() in _PROXIES
