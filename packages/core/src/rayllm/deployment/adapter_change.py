"""Changing the adapters of models that run: under the lease, in Serve's config, and waiting until it is so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from rayllm.cluster.admin_api import AdminApi
from rayllm.cluster.serve_api import ServeApi
from rayllm.deployment import watch
from rayllm.deployment.adapter_settings import settings_of, with_settings
from rayllm.deployment.adapter_status import describe, error_of, failed
from rayllm.deployment.apply import PUTS
from rayllm.deployment.lease import lease
from rayllm.deployment.observing import observe
from rayllm.deployment.patience import Patience
from rayllm.deployment.serve_config import Json, deployed_apps, merge
from rayllm.deployment.status import ModelStatus, Status
from rayllm.deployment.wording import failure_of
from rayllm.errors import ClusterError

if TYPE_CHECKING:
    from rayllm.backends import Cluster, Progress
    from rayllm.deployment.session import Session
    from rayllm.engines import Adapters, Options
    from rayllm.plugins import Plugins
    from rayllm.serving.spec import ModelSettings

_FAILED = frozenset({"failed", "unhealthy"})


@contextmanager
def changing(session: Session) -> Iterator[Change]:
    """Hold the right to change a deployment.

    Raises:
        ClusterError: the cluster is not ready, or somebody else is changing it.
    """
    cluster = session.find_ready()
    with closing(AdminApi(cluster)) as admin, lease(admin, session.name) as renew, ServeApi.of(cluster) as api:
        yield Change(session, cluster, admin, api, renew)


class Change:
    """One change of a deployment that runs; `changing` makes it."""

    def __init__(
        self, session: Session, cluster: Cluster, admin: AdminApi, api: ServeApi, renew: Callable[[], bool]
    ) -> None:
        self._session = session
        self._cluster = cluster
        self._admin = admin
        self._api = api
        self._renew = renew
        self._known = admin.failed_at()

    def apps(self) -> dict[str, Json]:
        """What is deployed, by model."""
        return deployed_apps(self._api.details(), self._session.name)

    def app(self, model: str) -> Json:
        """One model's application.

        Raises:
            ClusterError: it is not deployed.
        """
        apps = self.apps()
        if model not in apps:
            raise ClusterError(f"{model} is not deployed", cure="deploy what the file says: rayllm up")
        return apps[model]

    def settings(self, model: str) -> ModelSettings:
        """Its adapters."""
        return settings_of(self.app(model))

    def put(self, model: str, wanted: ModelSettings) -> None:
        """PUT what is deployed with other adapters of one model, then read it back: Serve has no version check.

        Raises:
            ClusterError: somebody else keeps changing it.
        """
        name, how = self._session.name, adapters_by(self._session.plugins, self.app(model))
        if how is None:
            raise ClusterError(
                f"{model} takes no adapters any more: somebody else changed it", topic="another-operator"
            )
        for _ in range(PUTS):
            details = self._api.details()
            apps = with_settings(deployed_apps(details, name), how, model, wanted)
            self._session.deploy(self._cluster, merge(details, name, list(apps.values()), self._cluster.serve_port))
            if self.settings(model).to_user_config() == wanted.to_user_config():
                return
        raise ClusterError(
            f"somebody else keeps replacing what runs on {self._cluster.dashboard_url}",
            cure="agree who goes first, then run it again",
            topic="another-operator",
        )

    def observe(self) -> Status:
        """What runs now."""
        return observe(self._cluster, self._api, self._admin)

    def still_has(self, model: str, name: str) -> bool:
        """Whether a replica still answers by the adapter."""
        told = (self._admin.state() or {}).get("replicas", [])
        return any(name in one.get("adapters", {}) for one in told if one["model"] == model)

    def wait(self, model: str, name: str, done: Callable[[ModelStatus], bool], progress: Progress) -> ModelStatus:
        """Wait until a model is as it should be with the adapter `name`.

        Raises:
            DeploymentError: the adapter, or the model, has failed meanwhile.
            UnreachableError: nobody has answered for a while.
        """
        patience = Patience(progress)
        while True:
            status = patience.ask(self.observe)
            part: ModelStatus | None = status.models.get(model) if status else None
            if part and (problem := failed(part, self._known, [name])):
                raise error_of(f"the adapter {name} can't be served", problem[1])
            if part and part.state in _FAILED:
                raise failure_of(part)
            if part and done(part):
                return part
            if part and (adapter := part.adapters.get(name)):
                progress(model, describe(name, adapter))
            patience.ask(self._renew)
            time.sleep(watch.POLL_S)


def adapters_by(plugins: Plugins, app: Json) -> Adapters | None:
    """How the engine of a model that is deployed takes adapters; None for one that takes none, or is not installed."""
    engine = plugins.engines.get(app["args"]["engine"])
    return engine.adapters if engine else None


def options_of(plugins: Plugins, app: Json) -> Options:
    """The options that a model was deployed with, those that were left out included."""
    options: type[Options] = plugins.engines[app["args"]["engine"]].options
    return options.model_validate_json(json.dumps(app["args"].get("options") or {}))
