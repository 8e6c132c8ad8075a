"""Another number of replicas for one model that runs: Serve's config is changed, the file is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rayllm.cluster.admin_api import AdminApi
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment.apply import PUTS
from rayllm.deployment.fit import each_of, room
from rayllm.deployment.lease import lease
from rayllm.deployment.observing import observe
from rayllm.deployment.plan import scaling_of
from rayllm.deployment.serve_config import Json, deployed_apps, merge
from rayllm.deployment.status import Status
from rayllm.deployment.telling import Tell, telling
from rayllm.deployment.usage import needs_of, ranks_of, spans_of, taken
from rayllm.deployment.watch import GATEWAY, Watch
from rayllm.errors import ClusterError, DeploymentError, InputError
from rayllm.events import Scaled
from rayllm.serving.spec import app_name

if TYPE_CHECKING:
    from rayllm.backends import Cluster, Progress
    from rayllm.deployment.session import Session


def scale(session: Session, model: str, replicas: int, progress: Progress) -> Status:
    """Set the number of a model's replicas, and wait until so many run.

    Raises:
        InputError: the file has no such model, or `replicas` is less than 1.
        ClusterError: the cluster is not ready, the model is not deployed, or somebody else is changing it.
        DeploymentError: the nodes have no room for so many, or a new replica did not come up.
    """
    session.require_model(model)
    if replicas < 1:
        raise InputError(
            f"{model} can't have {replicas} replicas",
            cure="let it sleep while nobody asks: replicas: {min: 0, max: 1} in the file; or take it out of the file",
        )
    with telling(session, "scale") as tell:
        return _scale(session, model, replicas, progress, tell)


def _scale(session: Session, model: str, replicas: int, progress: Progress, tell: Tell) -> Status:
    cluster = session.find_ready()
    admin = AdminApi(cluster)
    try:
        with lease(admin, session.name) as renew, ServeApi.of(cluster) as api:
            if not cluster.elastic:
                _require_room(session, api, admin, model, replicas)
            known = admin.failed_at()
            _put(session, cluster, api, model, replicas)
            tell(Scaled(deployment=session.name, model=model, replicas=replicas))

            def look() -> Status:
                status = observe(cluster, api, admin)
                part = status.models.get(model)
                if part and part.running != replicas:
                    # Serve calls it ready a moment before it has begun, and while it stops what is too much.
                    state = "starting" if part.state == "ready" else part.state
                    status.models[model] = replace(part, state=state, wanted=replicas)
                return status

            def keep() -> None:
                renew()

            def told(step: str, detail: str, *, done: bool = False) -> None:
                if step != GATEWAY:  # Serve looks at every application again, which is no news of them
                    progress(step, detail, done=done)

            return Watch({model}, told, known, tell=tell).run(look, keep)
    finally:
        admin.close()


def _report(session: Session, details: Json, model: str) -> Json:
    """Serve's report on a model's application.

    Raises:
        ClusterError: it is not deployed.
    """
    if model not in deployed_apps(details, session.name):
        raise ClusterError(f"{model} is not deployed", cure="deploy what the file says: rayllm up")
    report: Json = details["applications"][app_name(session.name, model)]
    return report


def _require_room(session: Session, api: ServeApi, admin: AdminApi, model: str, replicas: int) -> None:
    details = api.details()
    serve: Json = next(iter(_report(session, details, model)["deployments"].values()), {})
    needs, nodes = needs_of(serve), api.nodes()
    if not needs or not nodes or replicas <= len(serve["replicas"]):
        return
    spans = spans_of(deployed_apps(details, session.name)[model])
    used = taken(details, ranks_of(admin.state()), without=app_name(session.name, model))
    most = room(needs, nodes, used, spans)
    if replicas > most:
        raise DeploymentError(
            f"{replicas} replicas of {model} don't fit: each needs {each_of(needs, spans)}, "
            f"and beside what else runs the nodes have room for {most}",
            cure=f"take fewer, ask for less under resources:, or {session.more_nodes}",
            topic="room",
        )


def _put(session: Session, cluster: Cluster, api: ServeApi, model: str, replicas: int) -> None:
    """PUT what is deployed with one number changed, then read it back: Serve has no version check of its own."""
    for _ in range(PUTS):
        details = api.details()
        _report(session, details, model)
        apps = deployed_apps(details, session.name)
        if scaling_of(apps[model]) == replicas:
            return
        apps[model] = _scaled(apps[model], replicas)
        session.deploy(cluster, merge(details, session.name, list(apps.values()), cluster.serve_port))
    if scaling_of(deployed_apps(api.details(), session.name).get(model, {})) != replicas:
        raise ClusterError(
            f"somebody else keeps replacing what runs on {cluster.dashboard_url}",
            cure="agree who goes first, then run it again",
            topic="another-operator",
        )


def _scaled(app: Json, replicas: int) -> Json:
    first, *others = app["deployments"]
    kept = {key: value for key, value in first.items() if key != "autoscaling_config"}
    return {**app, "deployments": [{**kept, "num_replicas": replicas}, *others]}
