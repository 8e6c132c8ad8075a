"""What a cluster backend plugin hands to RayLLM: a way to create, find and remove a Ray cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol

from rayllm.checks import Check
from rayllm.engines import OptionsT

if TYPE_CHECKING:
    from rayllm.config.schema import ModelConfig


class Progress(Protocol):
    """Told what is going on, so that a person sees it: `progress("cluster", "starting the head")`."""

    def __call__(self, step: str, detail: str, *, done: bool = False) -> None:
        """Report that `step` is now at `detail`; `done` closes the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """What `ensure` has to make true."""

    name: str
    """The cluster's name: how it is found again from anywhere."""
    gateway_host: str
    gateway_port: int
    gateway_tls: bool = False
    """True where the gateway speaks HTTPS."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values by name, for the files `$RAYLLM_HOME/secrets/NAME` (mode 0600) of the nodes that need them. They may stand
    in no log, argument list or report."""
    keys_required: bool = False
    """True where the gateway answers nobody without an API key."""
    preparation: Preparation | None = None
    """What the nodes will serve, for a backend whose nodes share a disk and can be prepared before there are any; None
    unless it has the capability `prepares`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Models, as `python -m rayllm.serving.prepare.on_node` takes them, with the code that this needs."""

    models: Sequence[Mapping[str, Any]]
    """`ModelSpec`s as data, by which their engines' environments are built."""
    code: bytes = field(repr=False)
    """A zip with rayllm, pluggy and the plugins of these models."""
    digest: str
    """Names the code by its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine of a cluster as the platform or Ray reports it."""

    id: str
    """Ray's id of it."""
    state: str
    """`alive` or `dead`; `missing` where the platform has it and Ray does not."""
    reason: str = ""
    """Why it is not alive."""
    address: str = ""
    """Its IP address."""
    head: bool = False
    """True for the node where Ray's own records and the gateway are."""
    resources: Mapping[str, float] = field(default_factory=dict)
    """Ray's resource names and totals: `CPU`, `GPU`, `memory` (bytes), …"""
    name: str = ""
    """Ray's name of it, by which a platform's own report on the same machine is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformNode:
    """One machine of a cluster as the platform reports it that started it: a pod, an instance, an application."""

    name: str
    """The platform's, which Ray has as the node's name."""
    state: str
    """The platform's own word, in lower case: `starting`, `running`, `stopped`, `failed`, …; `refused` or `waiting` of
    one that is wanted, and not made yet."""
    reason: str = ""
    """Why it does not run, where the platform or the node itself knows."""
    group: str = ""
    """Which of the backend's groups of alike nodes it belongs to; empty for the head."""
    head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray cluster and how to talk to it."""

    name: str
    dashboard_url: str
    """Ray's dashboard, without a trailing slash: `http://127.0.0.1:8265`."""
    gateway_url: str
    """Where OpenAI clients go, without `/v1`."""
    certificate: str | None = field(default=None, repr=False)
    """The gateway's own certificate as PEM, which is no secret: RayLLM's side trusts it, and nothing else, under
    `gateway_url`, whatever name stands in it. None where that is no HTTPS."""
    token: str | None = field(default=None, repr=False)
    """Ray's authentication token; a secret."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What the platform's ingress wants to see with every request to `dashboard_url` and `gateway_url`, by lower-case
    name: `authorization` of its own log-in. Secrets. Ray's token then goes as `x-ray-authorization`, API keys as
    `x-api-key`."""
    shown_headers: Mapping[str, str] = field(default_factory=dict)
    """The same as a person writes them in a shell, without secrets: `{"authorization": "Bearer $CML_API_KEY"}`."""
    nodes: Sequence[PlatformNode] = ()
    """What the platform says of its machines, where it has something to say."""
    elastic: bool = False
    """True where nodes come by themselves for what does not fit those that are there."""
    state: Literal["ready", "starting", "failed"] = "ready"
    reason: str = ""
    """Why it is not ready, and what to do."""
    created: bool = False
    """True when this call of `ensure` created it."""
    serve_port: int = 8001
    """Port of Serve's own proxy, on loopback where we start Serve."""


class ClusterBackend(ABC):
    """One opened backend. All methods may be called again after a crash at any point."""

    @abstractmethod
    def ensure(self, spec: ClusterSpec, progress: Progress) -> Cluster:
        """Create the cluster or take the one that is there, and wait until Ray answers.

        One that was made with other options becomes what a new one would be, or is refused.

        Raises:
            ClusterError: it can't be brought up; what was made stays and the next call picks it up. Or it can't be
                changed to what the options ask for, and the cure says what to do.
        """

    @abstractmethod
    def find(self, name: str) -> Cluster | None:
        """The cluster as it is now, healthy or not; None if there is none. Changes nothing."""

    @abstractmethod
    def destroy(self, name: str, progress: Progress) -> None:
        """Remove everything `ensure` made for `name`; nothing there is no error."""

    def scale(self, name: str, group: str, count: int, progress: Progress) -> None:
        """Set how many nodes a group has, and wait until it has them; of a backend with the capability `nodes`.

        A node that is too much takes no new replica, its replicas finish their requests, then it goes.

        Raises:
            InputError: there is no such group.
            ClusterError: it can't be done; what was begun is gone on with when it is asked again.
        """
        raise NotImplementedError

    def logs(self, name: str, node: str, *, lines: int) -> Iterator[str]:
        """The last lines of what a node wrote, in pieces of text; of a backend with the capability `nodes`.

        Args:
            name: the cluster's.
            node: a `PlatformNode.name`.
            lines: how many of the last lines; -1 for all.

        Raises:
            InputError: there is no such node.
        """
        raise NotImplementedError

    def deploy(self, cluster: Cluster, serve_config: Mapping[str, Any]) -> None:
        """Hand a whole Serve config to the cluster; by default a PUT to Ray's dashboard."""
        from rayllm.cluster.serve_api import ServeApi

        with ServeApi.of(cluster) as api:
            api.put_config(serve_config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a file asks for and no cluster of a backend could be."""

    key: tuple[str | int, ...]
    """What is wrong, by its keys in the file: `("cluster", "options", "region")`, `("gateway", "tls")`."""
    message: str
    """Why it can't be, behind the key's name."""
    cure: str = ""
    """What to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend(Generic[OptionsT]):
    """A kind of cluster that RayLLM can serve on, described as data."""

    name: str
    """What a person writes after `backend:`."""
    summary: str
    options: type[OptionsT]
    """Validates the `cluster.options:` block."""
    open: Callable[[OptionsT], ClusterBackend]
    capabilities: Iterable[str] = field(default=frozenset())
    """`create` where `down` removes the cluster itself; `nodes` where `scale` and `logs` are there for its nodes;
    `prepares` where `ensure` wants `ClusterSpec.preparation`; `this-machine` where the nodes are this machine."""

    check: Callable[[OptionsT], Iterable[Check]] | None = None
    """What `rayllm doctor` looks at on the operator's machine, for these options; quick, changes nothing."""
    endpoint: Callable[[OptionsT, str], str] | None = None
    """Where clients will reach the gateway of the cluster of this name, without `/v1`, if the platform gives it an
    address and `gateway.host` and `gateway.port` don't; asks nobody."""
    refuse: Callable[[OptionsT, ClusterSpec, Mapping[str, ModelConfig]], Iterable[Refusal]] | None = None
    """What `ensure` would refuse, or models wait for in vain, with these options, this cluster (without secrets and
    preparation) and these models, by name: told where the file is checked, with all else. Only what is certain without
    asking anybody. Pure."""


AnyBackend = Backend[Any]


def gateway_url(host: str, port: int, *, tls: bool) -> str:
    """Where this machine reaches a gateway that listens here: all addresses are no address to ask."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if tls else 'http'}://{shown}:{port}"
