"""Which cluster an address of the old tool means. No TCP connect tells: a sidecar may take any."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ray_serve_cai.deployments import KEY, Place
from rayllm import ClusterError, InputError
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.serve_api import ServeApi
from rayllm_backend_cai.api import CaiClient
from rayllm_backend_cai.migrate.clusters import DASHBOARD_PORT, NAME, dashboard_of
from rayllm_backend_cai.shared import Group, Shape, Wanted
from rayllm_backend_cai.steps.wanted_file import stored_wanted
from rayllm_backend_cai.workspace import Workspace

NAME_ELSEWHERE = "vllm-app"
"""The deployment's where the cluster is not ours: the old tool called its application so."""
DASHBOARD = "RAY_API_SERVER_ADDRESS"
"""Ray's own variable for where its dashboard is."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_known: dict[str, Place] = {}
"""Clusters that were started in this process, by `head_address`: their key is nowhere else."""


def remember(address: str, place: Place) -> None:
    """Let an address of the workspace be found by the models of this process."""
    _known[address] = place


def place_of(address: str | None) -> Place:
    """The cluster at an address; without one, the one that Ray's dashboard on this machine tells of, else a new one.

    Args:
        address: as the old tool took it (`auto`, `HOST:6379`, `ray://HOST:10001`), a dashboard's (`http://HOST:8265`),
            or the `head_address` of a cluster on Cloudera AI.

    Raises:
        InputError: it is an application of a workspace, and there is no key for that here.
        ClusterError: there is no such cluster in the workspace.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    plain = address.partition("://")[2] or address
    if plain in _known:
        return _known[plain].now()
    if found := _in_workspace(plain):
        return found
    here = os.environ.get(DASHBOARD) or f"http://127.0.0.1:{DASHBOARD_PORT}"
    if address == "local" or (not address and not _answers(here)):
        return Place(name=NAME_ELSEWHERE, mode="local", backend="local")
    url = dashboard_of(address) or here
    host = urlsplit(url).hostname or ""
    where = "" if host in _LOOPBACK else host
    return Place(name=NAME_ELSEWHERE, mode="connected", backend="ray", options={"address": url}, host=where)


def stored_place(workspace: Workspace, project: str, name: str = NAME) -> Place | None:
    """The cluster as it was last wanted, from the project's own disk; None if there is none."""
    with CaiClient(workspace) as client:
        wanted = stored_wanted(client, project, name)
    if wanted is None:
        return None
    account = {"host": workspace.url, "key": f"${{env:{KEY}}}", "project": project}
    gpus = {group.gpus for group in wanted.groups.values()}
    return Place(
        name=name,
        mode="connected",
        backend="cai",
        options=account | _options_of(wanted),
        secrets={KEY: workspace.key},
        gpus_per_node=gpus.pop() if len(gpus) == 1 else None,
        renew=partial(stored_place, workspace, project, name),
    )


def _options_of(wanted: Wanted) -> dict[str, Any]:
    """The options by which a cluster would be what it is."""
    return {
        "subdomain": wanted.subdomain,
        "bypass_authentication": wanted.bypass_authentication,
        "head": _node_of(wanted.head),
        "workers": {name: {**_node_of(group), "count": _count_of(group)} for name, group in wanted.groups.items()},
        "idle_minutes": wanted.idle_minutes,
    }


def _node_of(shape: Shape) -> dict[str, Any]:
    kind = {"accelerator": shape.accelerator} if shape.accelerator else {}
    return {
        "cpus": shape.cpus,
        "memory": round(shape.memory * (1 << 30)),
        "gpus": shape.gpus,
        "runtime": shape.runtime,
        **kind,
    }


def _count_of(group: Group) -> int | Mapping[str, int]:
    return group.min if group.min == group.max else {"min": group.min, "max": group.max}


def _in_workspace(address: str) -> Place | None:
    """The cluster whose endpoint the address is, if it is an application's of this environment's workspace."""
    try:
        workspace = Workspace.find()
    except InputError:  # this environment is nobody's at a workspace: then no address is
        return None
    subdomain = address.removesuffix(f".{workspace.domain}")
    if not subdomain or subdomain == address:
        return None
    if not workspace.project:
        raise InputError(f"{address} is in some project of {workspace.url}", cure="export CML_PROJECT=…, by its id")
    if place := stored_place(workspace, workspace.project, subdomain):
        return place
    raise ClusterError(
        f"there is no cluster {subdomain} in the project {workspace.project}",
        cause="it has no such folder below .rayllm/clusters",
        cure="CAIClusterManager.start_cluster, or rayllm up",
    )


def _answers(dashboard: str) -> bool:
    """Whether Ray's dashboard is there, for us or not."""
    try:
        with ServeApi(dashboard, timeout_s=5) as api:
            api.version()
    except UnreachableError:
        return False
    except ClusterError:  # it wants a token, or is of another kind: that is told when it is opened
        return True
    return True
