"""Removing a deployment, and its cluster where RayLLM made it."""

from __future__ import annotations

import time

from rayllm.backends import Cluster, Progress
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.serve_config import merge
from rayllm.deployment.session import Session
from rayllm.serving.spec import app_name

POLL_S = 0.3


def down(session: Session, progress: Progress) -> bool:
    """Stop everything; False if there was nothing. A half-made cluster is removed, too."""
    cluster = session.find()
    removes_cluster = "create" in session.checked.backend.capabilities
    if cluster and cluster.state == "ready" and not removes_cluster:
        _remove_apps(session, cluster, progress)
    # A cluster that is removed anyway takes its applications along: their requests in flight are not waited for.
    session.backend.destroy(session.name, progress)
    return cluster is not None


def _remove_apps(session: Session, cluster: Cluster, progress: Progress) -> None:
    """Take the deployment's applications out of Serve, nothing else, and wait until their processes are gone."""
    prefix = app_name(session.name, "")
    with ServeApi.of(cluster) as api:
        session.backend.deploy(cluster, merge(api.details(), session.name, [], cluster.serve_port))
        while names := [name for name in api.details()["applications"] if name.startswith(prefix)]:
            progress("models", f"{len(names)} to stop; requests in flight finish first")
            time.sleep(POLL_S)
    progress("models", "stopped", done=True)
