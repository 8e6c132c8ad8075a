"""What runs now: Serve's report and the directory's, joined. Pure but for the calls of `observe`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from rayllm.backends import Cluster, Node
from rayllm.deployment.adapter_settings import settings_of
from rayllm.deployment.adapter_status import adapters_of
from rayllm.deployment.diagnosis import diagnose
from rayllm.deployment.fit import shortage
from rayllm.deployment.node_status import node_statuses
from rayllm.deployment.plan import scaling_of
from rayllm.deployment.serve_config import Json, deployed_apps
from rayllm.deployment.status import ModelStatus, ReplicaStatus, Status
from rayllm.deployment.usage import needs_of, ranks_of, spans_of, taken
from rayllm.errors import ClusterError
from rayllm.serving.spec import GATEWAY_APP, app_name

if TYPE_CHECKING:
    from rayllm.cluster.admin_api import AdminApi
    from rayllm.cluster.serve_api import ServeApi
    from rayllm.deployment.session import Session

PENDING_S = 30.0
"""Seconds without a node after which a replica is said to wait: on a busy machine, Ray takes its time."""
_STATES = {
    "RUNNING": "ready",
    "DEPLOY_FAILED": "failed",
    "UNHEALTHY": "unhealthy",
}
"""By Serve's status of an application; any other is `starting`."""
_NOT_WRITTEN = frozenset({"deployment", "model", "attempt", "serve_port", "versions"})


def look(session: Session) -> Status:
    """Find the cluster and ask it.

    Raises:
        ClusterError: there is none, or it is not ready or does not answer.
    """
    from rayllm.cluster.admin_api import AdminApi
    from rayllm.cluster.serve_api import ServeApi

    cluster = session.find_ready()
    admin = AdminApi(cluster)
    try:
        with ServeApi.of(cluster) as api:
            return observe(cluster, api, admin)
    finally:
        admin.close()


def observe(cluster: Cluster, api: ServeApi, admin: AdminApi) -> Status:
    """Ask the cluster."""
    return status_of(cluster, api.details(), admin.state(), api.nodes())


def status_of(cluster: Cluster, details: Json, snapshot: Json | None, nodes: list[Node]) -> Status:
    """Join the reports."""
    apps, used = deployed_apps(details, cluster.name), taken(details, ranks_of(snapshot))
    found = {}
    for name, app in sorted(apps.items()):
        report = details["applications"][app_name(cluster.name, name)]
        serve: Json = next(iter(report["deployments"].values()), {})
        part = _model(name, app, report, serve, snapshot or {})
        lacks = shortage(needs, nodes, used, spans_of(app)) if (needs := needs_of(serve)) else ""
        cause, cure = diagnose(part, lacks, elastic=cluster.elastic)
        found[name] = replace(part, cause=cause, cure=cure, endpoint=f"{cluster.gateway_url}/v1")
    return Status(
        name=cluster.name,
        gateway_url=cluster.gateway_url,
        dashboard_url=cluster.dashboard_url,
        gateway=found.pop(GATEWAY_APP, None),
        models=found,
        nodes=node_statuses(cluster.nodes, nodes),
        shown_headers=dict(cluster.shown_headers),
    )


def model_of(session: Session, status: Status, name: str) -> ModelStatus:
    """One model of a deployment, or its `gateway`.

    Raises:
        InputError: there is no such model.
        ClusterError: it is in the file, and not deployed.
    """
    parts = {**({"gateway": status.gateway} if status.gateway else {}), **status.models}
    if name in parts:
        return parts[name]
    session.require_model(name)
    raise ClusterError(f"{name} is not deployed", cure="deploy what the file says: rayllm up")


def _model(name: str, app: Json, report: Json, serve: Json, snapshot: Mapping[str, Any]) -> ModelStatus:
    entries = [entry for entry in snapshot.get("replicas", []) if entry["model"] == name]
    replicas = [
        ReplicaStatus(**{one.name: entry[one.name] for one in fields(ReplicaStatus) if one.name in entry})
        for entry in entries
    ]
    running = sum(replica["state"] == "RUNNING" for replica in serve.get("replicas", []))
    state = _STATES.get(report["status"], "starting")
    if state == "unhealthy" and _is_replaced(serve, running, snapshot.get("failures", {}).get(name)):
        state = "restarting"
    if name != GATEWAY_APP:
        state = _as_replicas_say(state, replicas, serve, running, snapshot)
    return ModelStatus(
        name="gateway" if name == GATEWAY_APP else name,
        state=state,
        engine=(app.get("args") or {}).get("engine", ""),
        running=running,
        wanted=serve.get("target_num_replicas") or 0,
        message=_words(report, serve),
        replicas=replicas,
        failure=snapshot.get("failures", {}).get(name),
        past=snapshot.get("past", {}).get(name),
        versions=(app.get("args") or {}).get("versions") or {},
        adapters=adapters_of(settings_of(app), entries),
        config=_config(app),
    )


def _is_replaced(serve: Json, running: int, failure: Mapping[str, Any] | None) -> bool:
    """Whether Serve puts others in the place of replicas that died, and none of these has failed yet.

    It goes on for as long as it takes where some still serve. Of a replica that died with its node there is no failure,
    but Serve says that it was the health check, and not a start, that went wrong last.
    """
    died = serve.get("status_trigger") == "HEALTH_CHECK_FAILED" if failure is None else failure.get("count") == 1
    return bool(running or died)


def _config(app: Json) -> dict[str, Any]:
    """What a person wrote of it, without what the deployment's name and the code add."""
    own = {key: value for key, value in (app.get("args") or {}).items() if key not in _NOT_WRITTEN}
    return own | {"replicas": scaling_of(app)}


def _as_replicas_say(
    state: str, replicas: list[ReplicaStatus], serve: Json, running: int, snapshot: Mapping[str, Any]
) -> str:
    """A model's state, where its replicas know better than Serve."""
    if state in {"starting", "restarting"} and not replicas and not running and _is_pending(serve):
        return "waiting"
    # Serve takes a moment to notice that a replica ended; the replica has said so before. A directory that was just
    # restarted has not heard from all.
    told = snapshot and not snapshot.get("young")
    if state == "ready" and running and told and not any(replica.phase == "ready" for replica in replicas):
        return "restarting"
    return state


def _is_pending(serve: Json) -> bool:
    """True if a replica has had no node for longer than it takes to start its process."""
    late = time.time() - PENDING_S
    return any(
        replica["state"] == "STARTING" and not replica.get("node_id") and replica["start_time_s"] < late
        for replica in serve.get("replicas", [])
    )


def _words(report: Json, serve: Json) -> str:
    return "" if report["status"] == "RUNNING" else str(serve.get("message") or report.get("message") or "")
