"""Making a proposal true: upload the code, hand Serve its config, see that it was taken, wait."""

from __future__ import annotations

import time

from rayllm.backends import Cluster, Progress
from rayllm.cluster.admin_api import AdminApi
from rayllm.cluster.connection import UnreachableError
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.file_keys import FileKeys
from rayllm.deployment.fit import could_hold
from rayllm.deployment.lease import lease
from rayllm.deployment.observing import observe
from rayllm.deployment.plan import has_changes, plan
from rayllm.deployment.proposal import Proposal, code_of, propose
from rayllm.deployment.serve_config import deployed_apps, merge
from rayllm.deployment.session import Session
from rayllm.deployment.status import Status
from rayllm.deployment.telling import Tell, telling
from rayllm.deployment.watch import Watch
from rayllm.errors import ClusterError, DeploymentError
from rayllm.events import Applied

PUTS = 3
"""How often another operator's simultaneous change is answered with a fresh look before giving up."""
GONE_S = 10.0
"""How long a cluster that stopped answering may take to be gone, if somebody takes it down."""

LONGEST_PAUSE_S = 2.0
"""Between two looks whether it is gone: each may be several requests to a platform."""


def up(session: Session, progress: Progress, *, pull: bool = False) -> Status:
    """Bring the cluster and everything in the file up; what is as the file says stays untouched.

    The nodes are prepared first for what starts or restarts and holds GPUs, with `pull` for all that does: while a
    replica builds an environment or fetches weights, its GPUs would serve nobody.

    Raises:
        PluginError: the code of a plugin can't travel; nothing was started.
        ClusterError: the cluster can't be made, or another `up` is at work on it.
        DeploymentError: it was taken, but a part did not come up.
    """
    with telling(session, "up") as tell:
        code_of(session)  # refuses what can't travel; asked again below, where it takes a tenth of a second
        cluster = session.ensure(progress)
        try:
            return _apply(session, cluster, progress, tell, pull)
        except DeploymentError:
            raise
        except ClusterError as problem:
            _look_whether_gone(session, problem)
            raise


def _apply(session: Session, cluster: Cluster, progress: Progress, tell: Tell, pull: bool) -> Status:
    admin = AdminApi(cluster)
    try:
        with lease(admin, session.name) as renew, ServeApi.of(cluster) as api:
            proposal = propose(session, cluster)
            if proposal.misfits and not cluster.elastic:
                cure = f"ask for less under resources:, or {session.more_nodes}"
                raise DeploymentError("\n".join(proposal.misfits), cure=cure, topic="room")
            if proposal.refusals:
                cure = "sizes that work, a smaller or quantised model, or more GPUs; resources.check_memory: false"
                raise DeploymentError(
                    "\n".join(proposal.refusals), cure=f"{cure} leaves memory unchecked", topic="memory"
                )
            _prepare(session, cluster, proposal, progress, pull=pull)
            for bundle in proposal.bundles:
                if not api.has_package(bundle.name):
                    api.put_package(bundle.name, bundle.content)
            known = admin.failed_at()
            keys = FileKeys(session.checked, admin, progress)
            _put(session, cluster, api, proposal)
            changes = {change.name: change.kind for change in proposal.changes}
            tell(Applied(deployment=session.name, changes=changes))

            def keep() -> None:
                # The gateway that grants the lease came up with this very change: who gets it first has the last word.
                if renew() and not _is_taken(session, api, proposal):
                    _put(session, cluster, api, proposal)
                keys.try_to_tell()

            def look() -> Status:
                try:
                    return observe(cluster, api, admin)
                except UnreachableError as problem:
                    _require_there(session, problem)
                    raise

            status = Watch(set(session.checked.config.models), progress, known, tell=tell).run(look, keep)
            keys.tell()
            return status
    finally:
        admin.close()


def _prepare(session: Session, cluster: Cluster, proposal: Proposal, progress: Progress, *, pull: bool) -> None:
    """Prepare the nodes for what is about to start; a model that no node holds yet is prepared by its replica."""
    from rayllm.deployment.preparing import prepare

    models = session.checked.config.models
    starting = [change.name for change in proposal.changes if change.kind != "keep" and change.effect != "no restart"]
    names = [name for name in starting if name in models and (pull or models[name].resources.gpus)]
    names = [name for name in names if any(could_hold(node, models[name]) for node in proposal.nodes)]
    if not names:
        return
    try:
        prepare(session, cluster, names, progress)
    except UnreachableError:
        raise
    except ClusterError as problem:  # it takes no jobs, or ends them: each replica prepares itself
        cause = f" ({problem.cause})" if problem.cause else ""
        progress("preparation", f"left to the replicas: {problem.message}{cause}", done=True)


def _require_there(session: Session, problem: ClusterError) -> Cluster:
    """The cluster, whether it answers or not.

    Raises:
        ClusterError: it was taken down.
    """
    if cluster := session.find():
        return cluster
    raise ClusterError(
        f"{session.name} was taken down meanwhile", cure="start it again: rayllm up", topic="another-operator"
    ) from problem


def _look_whether_gone(session: Session, problem: ClusterError) -> None:
    """A cluster that stopped answering may have been taken down, which says more than that it does not answer.

    Raises:
        ClusterError: it was.
    """
    end, pause = time.monotonic() + GONE_S, 0.2
    while time.monotonic() < end:
        if _require_there(session, problem).state == "ready":
            return
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def _put(session: Session, cluster: Cluster, api: ServeApi, proposal: Proposal) -> None:
    """PUT merged with what others deployed, then read it back: Serve has no version check of its own.

    Somebody who read before this PUT and wrote after it has put back what was there.
    """
    apps = list(proposal.apps.values())
    for _ in range(PUTS):
        before = api.details()
        config = merge(before, session.name, apps, cluster.serve_port)
        session.deploy(cluster, config)
        if _is_taken(session, api, proposal):
            return
    raise ClusterError(
        f"somebody else keeps replacing what runs on {cluster.dashboard_url}",
        cure="agree who goes first, then: rayllm up",
        topic="another-operator",
    )


def _is_taken(session: Session, api: ServeApi, proposal: Proposal) -> bool:
    """True if Serve has the proposal's applications, each as it is proposed, and no other of this deployment."""
    return not has_changes(plan(proposal.apps, deployed_apps(api.details(), session.name)))
