"""Names that clients may send as `model`, as far as a command can know them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayllm.deployment.adapter_settings import settings_of
from rayllm.deployment.serve_config import deployed_apps
from rayllm.errors import InputError

if TYPE_CHECKING:
    from rayllm.deployment.session import Session


def require_name(session: Session, name: str) -> None:
    """Check that there is such a model, alias or adapter: in the file, or that it was added to what runs.

    Raises:
        InputError: there is none.
        ClusterError: the file has none, and the cluster can't be asked.
    """
    try:
        session.require_model(name, or_alias=True)
    except InputError:
        if name not in _added(session):
            raise


def _added(session: Session) -> list[str]:
    """The adapters that run and that the file need not know."""
    from rayllm.cluster.serve_api import ServeApi

    cluster = session.find()
    if cluster is None or cluster.state != "ready":
        return []
    with ServeApi.of(cluster) as api:
        apps = deployed_apps(api.details(), session.name)
    return [name for app in apps.values() for name in settings_of(app).adapters]
