"""One file, one cluster: what every command that talks to a cluster starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rayllm.backends import Cluster, ClusterBackend, ClusterSpec, Preparation, Progress, gateway_url
from rayllm.config.certificate import certificate_of
from rayllm.config.refusals import spec_of
from rayllm.errors import ClusterError, InputError, PluginError
from rayllm.names import did_you_mean
from rayllm.plugin_faults import blaming

if TYPE_CHECKING:
    from rayllm.config import Checked
    from rayllm.memory.model import Model
    from rayllm.plugins import Plugins


_WATCH = "wait: rayllm status --watch; if nobody brings it up any more: rayllm up"


class NotReadyError(ClusterError):
    """The cluster is there, and can't be talked to yet, or no more."""

    def __init__(self, cluster: Cluster) -> None:
        self.nodes = cluster.nodes
        """What the platform says of its machines."""
        super().__init__(
            f"the cluster of {cluster.name} is {cluster.state}",
            cause=cluster.reason,
            cure=_WATCH if cluster.state == "starting" else "rayllm up",
            topic="cluster-failed",
        )

    def __str__(self) -> str:
        """Every node as the platform has it, then the error."""
        width = max((len(node.name) for node in self.nodes), default=0)
        lines = [f"{node.name:<{width}}  {': '.join(filter(None, (node.state, node.reason)))}" for node in self.nodes]
        return "\n".join([*lines, super().__str__()])


class Session:
    """A checked file and its opened backend; a fault in the backend's code is told as its plugin's.

    Raises:
        PluginError: it can't be opened.
    """

    def __init__(self, checked: Checked, plugins: Plugins) -> None:
        self.checked = checked
        self.plugins = plugins
        self.seen: dict[str, Model | str] = {}
        """What was seen of models' files, by `source:`, or why nothing could be."""
        with self._calling("open"):
            opened: Any = checked.backend.open(checked.backend_options)
            _require(isinstance(opened, ClusterBackend), opened, "a ClusterBackend")
        self.backend: ClusterBackend = opened

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.checked.config.name

    @property
    def more_nodes(self) -> str:
        """How a person gets more of them, in words."""
        scales = "nodes" in self.checked.backend.capabilities
        return "add nodes: rayllm nodes scale GROUP COUNT" if scales else "add nodes"

    def spec(self) -> ClusterSpec:
        """What the backend has to make true."""
        spec = spec_of(self.checked.config)
        return replace(spec, secrets=self.checked.secrets, preparation=self._preparation())

    def ensure(self, progress: Progress) -> Cluster:
        """Create the cluster, or take the one that is there."""
        spec = self.spec()
        with self._calling("ensure"):
            found: Any = self.backend.ensure(spec, progress)
            _require(isinstance(found, Cluster), found, "a Cluster")
        return self._placed(found)

    def find(self) -> Cluster | None:
        """The cluster as it is now; None if there is none."""
        with self._calling("find"):
            found: Any = self.backend.find(self.name)
            _require(found is None or isinstance(found, Cluster), found, "a Cluster or None")
        return self._placed(found) if found else None

    def endpoint(self) -> str | None:
        """Where clients will reach the gateway, if the platform decides that; None where the file does."""
        backend = self.checked.backend
        if backend.endpoint is None:
            return None
        with self._calling("endpoint"):
            found: Any = backend.endpoint(self.checked.backend_options, self.name)
            _require(isinstance(found, str), found, "an address")
        return str(found)

    def find_ready(self) -> Cluster:
        """The cluster, if it can be talked to.

        Raises:
            ClusterError: there is none, or it is not ready.
        """
        cluster = self.find()
        if cluster is None:
            raise ClusterError(f"{self.name} is not running", cure="start it: rayllm up")
        if cluster.state != "ready":
            raise NotReadyError(cluster)
        return cluster

    def scale_nodes(self, group: str, count: int, progress: Progress) -> None:
        """Set how many nodes a group has, and wait until it has them.

        Raises:
            InputError: the backend has no nodes to scale, or no such group.
            ClusterError: it can't be done.
        """
        cure = "nodes come and go by what made the cluster; a model's replicas: rayllm scale MODEL REPLICAS"
        self._require_nodes("adds and removes no nodes", cure)
        with self._calling("scale"):
            self.backend.scale(self.name, group, count, progress)

    def node_logs(self, node: str, *, lines: int) -> Iterator[str]:
        """The last lines of what a node's own programs wrote, in pieces of text; -1 for all.

        Raises:
            InputError: the backend has no nodes' logs, or no such node.
            ClusterError: it can't be asked.
        """
        self._require_nodes("keeps no logs of nodes", "an engine's log: rayllm logs MODEL")
        return self._read_logs(node, lines)

    def _read_logs(self, node: str, lines: int) -> Iterator[str]:
        with self._calling("logs"):
            yield from self.backend.logs(self.name, node, lines=lines)

    def deploy(self, cluster: Cluster, serve_config: Mapping[str, Any]) -> None:
        """Hand a whole Serve config to the cluster."""
        with self._calling("deploy"):
            self.backend.deploy(cluster, serve_config)

    def destroy(self, progress: Progress) -> None:
        """Remove everything that `ensure` made."""
        with self._calling("destroy"):
            self.backend.destroy(self.name, progress)

    def require_model(self, name: str, *, or_alias: bool = False) -> None:
        """Check that the file has a model of that name; with `or_alias`, that clients may send it: an adapter's, too.

        Raises:
            InputError: it has none.
        """
        config = self.checked.config
        adapters = [name for model in config.models.values() for name in model.adapters]
        models = [*config.models, *([*config.gateway.aliases, *adapters] if or_alias else ())]
        if name not in models:
            raise InputError(
                f"{self.checked.path} has no model {name!r}{did_you_mean(name, models)}",
                cure=f"it has {', '.join(models)}",
            )

    def _require_nodes(self, lacks: str, cure: str) -> None:
        backend = self.checked.backend
        if "nodes" not in backend.capabilities:
            raise InputError(f"the backend {backend.name} {lacks}", cure=cure)

    def _preparation(self) -> Preparation | None:
        """What the nodes will serve, for a backend that wants it: the code has to be packed for it."""
        from rayllm.deployment.preparing import preparation

        return preparation(self) if "prepares" in self.checked.backend.capabilities else None

    @contextmanager
    def _calling(self, function: str) -> Iterator[None]:
        checked = self.checked
        known = {*checked.secrets.values(), *checked.keys.values(), *_from_environment(checked)}
        with blaming(self.plugins, ("backend", checked.backend.name), f"failed in {function}()", known):
            yield

    def _placed(self, cluster: Cluster) -> Cluster:
        """With the gateway's address from the file, where the platform does not give another."""
        gateway = self.checked.config.gateway
        url = gateway_url(gateway.host, gateway.port, tls=gateway.tls is not None)
        return replace(
            cluster,
            gateway_url=cluster.gateway_url or url,
            certificate=certificate_of(self.checked.secrets[gateway.tls]) if gateway.tls else None,
        )


def _require(is_right: bool, found: object, wanted: str) -> None:
    if not is_right:
        raise PluginError(f"it returned {type(found).__name__}, where {wanted} is wanted")


def _from_environment(checked: Checked) -> Iterator[str]:
    """The values that `${env:NAME}` stands for in the backend's options."""
    for path in checked.from_environment:
        if path[:2] == ("cluster", "options"):
            value: Any = checked.backend_options.model_dump(mode="json")
            for part in path[2:]:
                value = value[part]
            yield str(value)
