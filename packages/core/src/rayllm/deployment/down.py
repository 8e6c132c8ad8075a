"""Removing a deployment, and its cluster where RayLLM made it."""

from __future__ import annotations

import time

from rayllm.backends import Cluster, Progress
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.patience import Patience
from rayllm.deployment.serve_config import Json, deployed_apps, merge
from rayllm.deployment.session import Session
from rayllm.deployment.telling import telling
from rayllm.errors import ClusterError
from rayllm.events import Removed
from rayllm.serving.spec import app_name

POLL_S = 0.3


def down(session: Session, progress: Progress) -> bool:
    """Stop everything; False if there was nothing. A half-made cluster is removed, too.

    Raises:
        ClusterError: the cluster is not ready to be told, or somebody else deploys again what was removed.
    """
    with telling(session, "down") as tell:
        if "create" in session.checked.backend.capabilities:
            # The cluster takes its applications along: their requests in flight are not waited for.
            found = session.find() is not None
        else:
            found = session.find() is not None and remove_models(session, session.find_ready(), progress)
        session.destroy(progress)
        if found:
            tell(Removed(deployment=session.name))
        return found


def remove_models(session: Session, cluster: Cluster, progress: Progress) -> bool:
    """Take the deployment's applications out of Serve, nothing else, and wait until their processes are gone.

    Returns:
        False if there were none.

    Raises:
        ClusterError: somebody else deploys again what was removed.
    """
    with ServeApi.of(cluster) as api:
        details = api.details()
        if not _left(details, session.name):
            return False
        session.deploy(cluster, merge(details, session.name, [], cluster.serve_port))
        patience = Patience(progress)
        while (found := patience.ask(api.details)) is None or (left := _left(found, session.name)):
            if found is not None:
                if deployed_apps(found, session.name):
                    raise ClusterError(
                        f"somebody else deploys {session.name} again on {cluster.dashboard_url}",
                        cure="agree who goes first, then: rayllm down",
                        topic="another-operator",
                    )
                progress("models", f"{left} to stop; requests in flight finish first")
            time.sleep(POLL_S)
    progress("models", "stopped", done=True)
    return True


def _left(details: Json, deployment: str) -> int:
    """How many applications of a deployment Serve still has, those that it is stopping included."""
    return sum(name.startswith(app_name(deployment, "")) for name in details["applications"])
