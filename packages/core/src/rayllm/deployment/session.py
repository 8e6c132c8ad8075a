"""One file, one cluster: what every command that talks to a cluster starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rayllm.backends import Cluster, ClusterBackend, ClusterSpec, Progress, gateway_url
from rayllm.config.certificate import certificate_of
from rayllm.errors import ClusterError, InputError
from rayllm.names import did_you_mean

if TYPE_CHECKING:
    from rayllm.config import Checked
    from rayllm.plugins import Plugins


class Session:
    """A checked file and its opened backend."""

    def __init__(self, checked: Checked, plugins: Plugins) -> None:
        self.checked = checked
        self.plugins = plugins
        self.backend: ClusterBackend = checked.backend.open(checked.backend_options)

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.checked.config.name

    def ensure(self, progress: Progress) -> Cluster:
        """Create the cluster, or take the one that is there."""
        gateway = self.checked.config.gateway
        spec = ClusterSpec(
            name=self.name,
            gateway_host=gateway.host,
            gateway_port=gateway.port,
            gateway_tls=gateway.tls is not None,
            secrets=self.checked.secrets,
        )
        return self._placed(self.backend.ensure(spec, progress))

    def find(self) -> Cluster | None:
        """The cluster as it is now; None if there is none."""
        found = self.backend.find(self.name)
        return self._placed(found) if found else None

    def find_ready(self) -> Cluster:
        """The cluster, if it can be talked to.

        Raises:
            ClusterError: there is none, or it is not ready.
        """
        cluster = self.find()
        if cluster is None:
            raise ClusterError(f"{self.name} is not running", cure="start it: rayllm up")
        if cluster.state != "ready":
            raise ClusterError(
                f"the cluster of {self.name} is {cluster.state}",
                cause=cluster.reason,
                cure="rayllm up",
                topic="cluster-failed",
            )
        return cluster

    def require_model(self, name: str, *, or_alias: bool = False) -> None:
        """Check that the file has a model of that name; with `or_alias`, that a client may ask for it.

        Raises:
            InputError: it has none.
        """
        config = self.checked.config
        models = [*config.models, *(config.gateway.aliases if or_alias else ())]
        if name not in models:
            raise InputError(
                f"{self.checked.path} has no model {name!r}{did_you_mean(name, models)}",
                cure=f"it has {', '.join(models)}",
            )

    def _placed(self, cluster: Cluster) -> Cluster:
        """With the gateway's address from the file, where the platform does not give another."""
        gateway = self.checked.config.gateway
        url = gateway_url(gateway.host, gateway.port, tls=gateway.tls is not None)
        return replace(
            cluster,
            gateway_url=cluster.gateway_url or url,
            certificate=certificate_of(self.checked.secrets[gateway.tls]) if gateway.tls else None,
        )
